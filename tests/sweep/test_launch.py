import json
import os
import re
import resource
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import joblib
import pytest

from disvae.runs import Run
from disvae.sweep.pool import processes
from disvae.sweep.record import Sweep as Record
from disvae.sweep.worker import Outcome, work
from disvae.task import Task

DRY = (
    "dataset=clusters",
    "steps=20",
    "eval_every=10",
    "checkpoint_every=5",
    "eval_images=20",
    "eval_samples=10",
    "metric=[]",
    "final=[]",
)


def until(claim, seconds=60):
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def state(run: Path) -> dict:
    return Run(run).status()


def test_every_job_that_can_be_is_done_and_every_other_says_why(sweep, composed):
    choices = {"objective": "beta_vae", "dataset": "clusters"}
    raising = ["beta=1", "z_dim=2", "optimizer.lr=0.001", "seed=4"]
    config = composed(*DRY, *raising)
    config.out = str(sweep.folder / "outputs")
    folder = Task.of(config, [*DRY, *raising], choices).run.path
    (folder / "log.txt").mkdir(parents=True)  # its process cannot open its log: an exception like any other
    axes = (
        "beta=1,-1,1,1,1",
        "z_dim=2,2,100000000000,2,2",
        "optimizer.lr=0.001,0.001,0.001,1000000,0.001",
        "seed=0,1,2,3,4",
        "zip=[beta,z_dim,optimizer.lr,seed]",
    )
    status, output = sweep.run(*DRY, *axes)
    assert status == 1
    assert "finished beta=1,z_dim=2,optimizer.lr=0.001,seed=0 in" in output
    failed = {line.split(":")[1].strip(): line for line in output.splitlines() if line.startswith("failed: ")}
    assert len(failed) == 4
    assert "beta must be a finite number >= 0, got -1" in failed["beta=-1,z_dim=2,optimizer.lr=0.001,seed=1"]
    assert "allocate" in failed["beta=1,z_dim=100000000000,optimizer.lr=0.001,seed=2"]
    assert "diverged" in failed["beta=1,z_dim=2,optimizer.lr=1000000,seed=3"]
    assert "IsADirectoryError" in failed["beta=1,z_dim=2,optimizer.lr=0.001,seed=4"]
    again = [line for line in output.splitlines() if "crashed, later again" in line]
    assert sorted("seed=2" in line for line in again) == [False, True], "the two crashes, once each"
    assert "seed=4" in "".join(again)
    assert "Traceback" not in output
    assert sweep.processes() == []

    [record] = sweep.folder.glob("outputs/sweeps/*.json")
    jobs = Record.read(record).jobs
    assert [job.run is None for job in jobs] == [False, True, False, False, False]
    assert "beta must be" in jobs[1].error
    assert "IsADirectoryError" in jobs[4].error, "a run that has no status of its own"
    assert jobs[2].error is None
    assert "Traceback" in (sweep.folder / "outputs" / jobs[2].run / "log.txt").read_text()
    before = (sweep.folder / "outputs" / jobs[0].run / "status.json").read_bytes()

    (folder / "log.txt").rmdir()
    status, output = sweep.run(*DRY, *axes, "launcher.retries=0")
    assert status == 1
    assert "5 jobs · 1 finished before" in output
    assert "finished beta=1,z_dim=2,optimizer.lr=0.001,seed=4 in" in output
    assert "crashed, later again" not in output
    assert (sweep.folder / "outputs" / jobs[0].run / "status.json").read_bytes() == before
    assert list(sweep.folder.glob("outputs/sweeps/*.json")) == [record], "the same sweep"
    assert Record.read(record).jobs[4].error is None


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order_and_the_same_command_goes_on(sweep, signum):
    arguments = (*DRY[:1], "steps=600", "eval_every=1000", "checkpoint_every=10", *DRY[4:], "seed=0,1,2")
    process = sweep.start(*arguments, "launcher.processes=2")
    until(lambda: len([run for run in sweep.runs() if state(run)["step"] >= 10]) == 2)
    process.send_signal(signum)
    start = time.monotonic()
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - start < 20
    assert process.returncode == 128 + signum
    until(lambda: sweep.processes() == [], 10)
    for run in sweep.runs():
        assert state(run)["state"] == "interrupted"
        assert (run / "last.ckpt").exists()
    assert [line.split() for line in output.splitlines() if "interrupted  " in line] == [["interrupted", "2"]]
    assert [line.split() for line in output.splitlines() if "not started" in line] == [["not", "started", "1"]]

    status, output = sweep.run(*arguments, "launcher.processes=2")
    assert status == 0
    assert "3 jobs · 2 to go on · 1 new" in output
    logs = [(run / "log.txt").read_text() for run in sweep.runs()]
    assert sorted("Continuing from step" in log for log in logs) == [False, True, True]


def test_two_signals_leave_at_once(sweep):
    process = sweep.start(*DRY, "steps=100000", "seed=0,1")
    until(lambda: len(sweep.runs()) == 2)
    for run in sweep.runs():
        os.kill(state(run)["pid"], signal.SIGSTOP)  # a job that hears nothing
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=8) == 130
    until(lambda: sweep.processes() == [], 10)


def test_two_identical_sweeps_do_each_job_once(sweep):
    both = [sweep.start(*DRY, "seed=range(6)", "launcher.processes=2") for _ in range(2)]
    outputs = [process.communicate(timeout=200)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    done = sorted(re.findall(r"] finished (seed=\d+) in", "\n".join(outputs)))
    assert done == [f"seed={i}" for i in range(6)], outputs
    for run in sweep.runs():
        assert len(Run(run).provenance()["sessions"]) == 1


def test_a_job_has_the_numbers_of_the_run_alone(sweep):
    assert sweep.run(*DRY, "beta=1,2")[0] == 0
    status, _ = sweep.run(*DRY, "beta=2", "out=alone", multirun=False)
    assert status == 0
    [alone] = sweep.folder.glob("alone/clusters/*/metrics.json")
    [job] = sweep.folder.glob(f"outputs/clusters/{alone.parent.name}/metrics.json")
    assert job.read_bytes() == alone.read_bytes()
    command = Run(job.parent).provenance()["sessions"][0]["command"]
    assert command.endswith("beta=2"), "the job's own, not the sweep's"


def test_a_full_disk_is_said_and_spares_what_is_finished(sweep):
    assert sweep.run(*DRY, "seed=0", multirun=False)[0] == 0
    [done] = sweep.runs()
    before = {path: path.read_bytes() for path in done.iterdir() if path.is_file() and path.name != ".lock"}
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))  # noqa: E731
    status, output = sweep.run(*DRY, "seed=0,1", limits=full)
    assert status == 1
    [failure] = [line for line in output.splitlines() if line.startswith("failed: ")]
    assert "seed=1" in failure
    assert "cannot write" in failure
    assert "make room" in failure
    assert "later again" not in output, "another attempt would find it as full"
    assert "Traceback" not in output
    for path, content in before.items():
        assert path.read_bytes() == content


def test_a_place_that_cannot_be_written_is_said_before_anything_starts(sweep):
    (sweep.folder / "file").touch()
    status, output = sweep.run(*DRY, "seed=0,1", "out=file/x")
    assert status == 2
    assert "choose another with out=PATH" in output
    assert "Traceback" not in output


@dataclass
class WithHelpers:
    """A task that leaves joblib's processes behind."""

    run: Run
    overrides: tuple[str, ...] = ()

    def do(self, **_):
        pids = joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(4))
        (self.run.path / "pids").write_text(json.dumps(pids))
        return False


def test_a_process_ends_at_once_with_its_helpers(tmp_path):
    context = processes()
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(WithHelpers(Run(tmp_path)), theirs, [], 1))
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == Outcome("elsewhere")
    process.join(30)
    assert process.exitcode == 0
    for pid in json.loads((tmp_path / "pids").read_text()):
        assert not Path(f"/proc/{pid}").exists()
