"""Jobs of a sweep that one process trains together, by the command: as if each had been alone."""

import os
import re
import signal
import time
from pathlib import Path

import pytest

from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.sweep.record import Sweep as Record
from tests.sweep.test_launch import DRY, state, stepping, until

PACKED = (*DRY, "launcher.pack=auto")
LONG = ("steps=5000", "eval_every=10000", "checkpoint_every=10")


def terms(runs: list[Path]) -> dict[str, dict[str, float]]:
    return {run.name: Run(run).metrics() for run in runs}


def alike(found: dict, expected: dict, *, rel: float = 1e-3, absolute: float = 1e-4) -> None:
    """The same runs with the same terms, but for the order of sums in vectorised products, which many steps amplify."""
    assert found.keys() == expected.keys()
    for name, metrics in expected.items():
        assert found[name] == pytest.approx(metrics, rel=rel, abs=absolute), name


def test_packed_jobs_leave_the_folders_and_the_terms_of_jobs_alone(sweep):
    axes = ("beta=1,2", "seed=0,1,2", "launcher.processes=2")
    status, output = sweep.run(*PACKED, *axes)
    assert status == 0, output
    assert "6 jobs · 6 new · packed 3 in a process, 2 at once" in output
    assert len(re.findall(r"] finished beta=\d,seed=\d in", output)) == 6
    packed = sweep.runs()
    [record] = sweep.folder.glob("outputs/sweeps/*.json")
    assert {job.run for job in Record.read(record).jobs} == {str(run.relative_to(record.parents[1])) for run in packed}

    status, output = sweep.run(*DRY, *axes, "out=alone")
    assert status == 0, output
    assert "2 at once" in output
    assert "packed" not in output
    alone = sorted(path.parent for path in sweep.folder.glob("alone/*/*/config.yaml"))
    alike(terms(packed), terms(alone))
    for one, other in zip(packed, alone, strict=True):
        kept = [sorted(re.sub(r"^events.*", "events", path.name) for path in run.iterdir()) for run in (one, other)]
        assert kept[0] == kept[1]
        [session] = Run(one).provenance()["sessions"]
        assert session["packed"] == 3
        assert " ".join(one.name.rpartition("-")[0].split(",")[-2:]) + " " in session["command"], "its own"
        assert (one / "log.txt").read_text().count("TensorBoard:  ") == 1, "its own table"
    assert "6 jobs · 6 finished before" in sweep.run(*DRY, *axes)[1], "as pack=1 sees it"


def test_a_signal_leaves_a_checkpoint_of_each_and_the_same_command_goes_on_packed(sweep):
    command = (*PACKED, *LONG, "seed=0,1,2", "launcher.processes=1")
    for number, signum in enumerate((signal.SIGINT, signal.SIGTERM)):
        process = sweep.start(*command)
        until(lambda: len(stepping(sweep)) == 3)
        process.send_signal(signum)
        output, _ = process.communicate(timeout=30)
        assert process.returncode == 128 + signum
        until(lambda: sweep.processes() == [], 5)
        assert len({state(run)["step"] for run in sweep.runs()}) == 1, "they stop at the same step"
        for run in sweep.runs():
            assert state(run)["state"] == "interrupted"
            assert load(run / "last.ckpt")["global_step"] == state(run)["step"]
            assert (run / "log.txt").read_text().count("Continuing from step") == number
        assert [line.split() for line in output.splitlines() if "interrupted  " in line] == [["interrupted", "3"]]
    assert "3 jobs · 3 to resume · packed 3 in a process" in output


def test_a_member_that_diverges_is_among_the_failed_and_the_others_finish(sweep):
    status, output = sweep.run(*PACKED, "beta=1,1e+38,2", "launcher.processes=1")
    assert status == 1
    assert "packed 3 in a process" in output
    assert "tried again" not in output, "it would diverge again"
    [failure] = [line for line in output.splitlines() if line.startswith("failed: ")]
    assert "beta=1e+38" in failure
    assert "diverged" in failure
    assert sorted(state(run)["state"] for run in sweep.runs()) == ["diverged", "finished", "finished"]
    packed = terms([run for run in sweep.runs() if Run(run).finished()])
    assert sweep.run(*DRY, "beta=1,2", "out=alone")[0] == 0
    alike(packed, terms(sorted(path.parent for path in sweep.folder.glob("alone/*/*/config.yaml"))))


def test_a_pack_that_is_killed_is_done_one_by_one(sweep):
    process = sweep.start(*PACKED, "steps=300", "eval_every=150", "seed=0,1,2", "launcher.processes=1")
    until(lambda: len(stepping(sweep)) == 3)
    assert len({state(run)["pid"] for run in sweep.runs()}) == 1
    os.kill(state(sweep.runs()[0])["pid"], signal.SIGKILL)  # as the system does when memory is short
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert output.count("crashed, will be tried again") == 3
    assert output.count("killed by SIGKILL; out of memory?") == 3
    assert [line.split() for line in output.splitlines() if line.startswith("  done ")] == [["done", "3"]]
    assert len({state(run)["pid"] for run in sweep.runs()}) == 3
    for run in sweep.runs():
        sessions = Run(run).provenance()["sessions"]
        assert len(sessions) == 2
        assert "packed" not in sessions[1]


def test_a_packed_sweep_whose_launcher_is_killed_is_finished_by_the_same_command(sweep):
    command = (*PACKED, "steps=300", "eval_every=150", "seed=range(6)", "launcher.processes=2")
    process = sweep.start(*command)
    until(lambda: len(stepping(sweep)) >= 3)
    process.kill()
    process.wait()
    process.stdout.close()
    status, output = sweep.run(*command)  # while the jobs of the other may still write their checkpoints
    assert status == 0, output
    finished = {run: (run / "provenance.json").read_bytes() for run in sweep.runs() if Run(run).finished()}
    assert len(finished) == 6
    assert "6 jobs · 6 finished before" in sweep.run(*command)[1]
    assert {run: (run / "provenance.json").read_bytes() for run in finished} == finished
    end = time.monotonic() + 10
    while sweep.processes():
        assert time.monotonic() < end
        time.sleep(0.05)
    whole = terms(sweep.runs())
    assert sweep.run(*DRY, *command[len(PACKED) :], "out=alone")[0] == 0
    alone = terms(sorted(path.parent for path in sweep.folder.glob("alone/*/*/config.yaml")))
    alike(whole, alone, rel=0.02, absolute=0.01)


def test_packed_sweeps_at_once_do_each_run_once(sweep):
    commands = [("beta=1", "seed=range(4)")] * 2 + [("seed=range(2,6)", "beta=1,1.0")]
    together = [sweep.start(*PACKED, *command, "launcher.processes=1") for command in commands]
    outputs = [process.communicate(timeout=250)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    assert len(sweep.runs()) == 6
    assert len(re.findall(r"] finished \S+ in", "".join(outputs))) == 6, outputs
    for run in sweep.runs():
        assert len(Run(run).provenance()["sessions"]) == 1
