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
from omegaconf.errors import OmegaConfBaseException

from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.sweep.launch import Launcher, launch
from disvae.sweep.pool import process_context
from disvae.sweep.record import Sweep as Record
from disvae.sweep.worker import JobOutcome, do_jobs
from disvae.training.job import Job

DRY = (
    "dataset=clusters",
    "steps=20",
    "eval_every=10",
    "checkpoint_every=5",
    "eval_images=20",
    "eval_samples=10",
    "metric=[]",
    "final=[]",
    "figure=[]",
    "final_figures=[]",
    "report=false",
    "launcher.pack=1",  # packs: test_packed.py
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
    folder = Job.of(config, [*DRY, *raising], choices).run.path
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
    assert "z_dim must be a whole number" in failed["beta=1,z_dim=100000000000,optimizer.lr=0.001,seed=2"]
    assert "diverged" in failed["beta=1,z_dim=2,optimizer.lr=1000000,seed=3"]
    assert "IsADirectoryError" in failed["beta=1,z_dim=2,optimizer.lr=0.001,seed=4"]
    again = [line for line in output.splitlines() if "crashed, will be tried again" in line]
    assert ["seed=4" in line for line in again] == [True], "the crash, once"
    assert "Traceback" not in output
    assert sweep.processes() == []

    [record] = sweep.folder.glob("outputs/sweeps/*.json")
    jobs = Record.read(record).jobs
    assert [job.run is None for job in jobs] == [False, True, True, False, False]
    assert "beta must be" in jobs[1].error
    assert "IsADirectoryError" in jobs[4].error, "a run that has no status of its own"
    before = (sweep.folder / "outputs" / jobs[0].run / "status.json").read_bytes()

    (folder / "log.txt").rmdir()
    status, output = sweep.run(*DRY, *axes, "launcher.retries=0")
    assert status == 1
    assert "5 jobs · 1 finished before" in output
    assert "finished beta=1,z_dim=2,optimizer.lr=0.001,seed=4 in" in output
    assert "crashed, will be tried again" not in output
    assert (sweep.folder / "outputs" / jobs[0].run / "status.json").read_bytes() == before
    assert list(sweep.folder.glob("outputs/sweeps/*.json")) == [record], "the same sweep"
    assert Record.read(record).jobs[4].error is None


def stepping(sweep) -> list[Path]:
    """Runs that have written a checkpoint and go on."""
    return [run for run in sweep.runs() if state(run)["state"] == "running" and state(run)["step"] > 0]


def test_signals_stop_in_order_and_the_same_command_goes_on(sweep):
    command = (*DRY, "steps=5000", "eval_every=10000", "checkpoint_every=10", "seed=0,1,2", "launcher.processes=2")
    for number, signum in enumerate((signal.SIGINT, signal.SIGTERM)):
        process = sweep.start(*command)
        until(lambda: len(stepping(sweep)) == 2)
        process.send_signal(signum)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 128 + signum
        until(lambda: sweep.processes() == [], 5)
        for run in sweep.runs():
            assert state(run)["state"] == "interrupted"
            assert load(run / "last.ckpt")["global_step"] == state(run)["step"], "the step it was stopped at"
            assert (run / "log.txt").read_text().count("Continuing from step") == number
        assert [line.split() for line in output.splitlines() if "interrupted  " in line] == [["interrupted", "2"]]
        assert [line.split() for line in output.splitlines() if "not started" in line] == [["not", "started", "1"]]
    assert "3 jobs · 2 to resume · 1 new" in output


def test_a_signal_while_jobs_are_composed_ends_the_sweep_before_its_first_step(monkeypatch, capsys):
    """OmegaConf makes an error of its own of whatever is raised within it, which would be that of a wrong job."""
    composed = []

    def compose(launcher, overrides, number):
        composed.append(number)
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise OmegaConfBaseException("half of it is composed")

    monkeypatch.setattr(Launcher, "_compose", compose)
    monkeypatch.setattr(Launcher, "record", lambda launcher, first: None)
    with pytest.raises(SystemExit) as stopped:
        launch(None, None, [["seed=0"], ["seed=1"]], 0)
    assert stopped.value.code == 128 + signal.SIGTERM
    assert composed == [0]
    assert capsys.readouterr().err == "disvae: SIGTERM; what was computed is kept\n"


def test_two_signals_leave_at_once(sweep):
    process = sweep.start(*DRY, "steps=100000", "seed=0,1", "launcher.processes=2")
    until(lambda: len(sweep.runs()) == 2)
    for run in sweep.runs():
        os.kill(state(run)["pid"], signal.SIGSTOP)  # a job that hears nothing
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=8) == 130
    until(lambda: sweep.processes() == [], 5)


def test_a_job_that_is_killed_is_among_the_failed_and_the_others_finish(sweep):
    process = sweep.start(*DRY, "seed=0,1,2", "launcher.processes=1", "launcher.retries=0")
    until(lambda: len(sweep.runs()) == 1)
    [run] = sweep.runs()
    os.kill(state(run)["pid"], signal.SIGKILL)  # as the system does when memory is short
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "failed: seed=0: killed by SIGKILL; out of memory?" in output
    assert f"log: {run.relative_to(sweep.folder)}/log.txt" in output
    assert [line.split() for line in output.splitlines() if line.startswith("  done ")] == [["done", "2"]]
    assert (state(run)["state"], state(run)["error"]) == ("failed", "killed by SIGKILL; out of memory?")


def test_a_repeat_whose_process_is_killed_goes_on_from_its_checkpoint(sweep):
    command = (*DRY, "steps=600", "eval_every=600", "checkpoint_every=10", "seed=0")
    assert sweep.run(*command)[0] == 0
    [run] = sweep.runs()
    repeat, metrics = Run(run).place(force=True), Run(run).metrics()
    process = sweep.start(*command, "force=true")
    until(lambda: repeat.status()["step"] > 0)
    os.kill(repeat.status()["pid"], signal.SIGKILL)
    assert Run(run).finished()
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert "crashed, will be tried again" in output
    assert (run / "log.txt").read_text().count("Continuing from step") == 1
    assert len(Run(run).provenance()["sessions"]) == 2, "those of the repeat"
    assert Run(run).metrics() == metrics
    assert not repeat.path.exists()


def test_sweeps_at_once_do_each_run_once_under_whatever_names(sweep):
    commands = [("beta=1", "seed=range(4)")] * 2 + [("seed=range(2,6)", "beta=1,1.0")]
    together = [sweep.start(*DRY, *command, "launcher.processes=2") for command in commands]
    outputs = [process.communicate(timeout=200)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0, 0], outputs
    assert len(sweep.runs()) == 6
    assert len(re.findall(r"] finished \S+ in", "".join(outputs))) == 6, outputs
    assert re.search(r"the same run as seed=\d,beta=1: seed=\d,beta=1.0", outputs[2])
    for run in sweep.runs():
        assert len(Run(run).provenance()["sessions"]) == 1
    for record in sweep.folder.glob("outputs/sweeps/*.json"):
        assert {(record.parent.parent / job.run).exists() for job in Record.read(record).jobs} == {True}


def test_a_job_has_the_numbers_of_the_run_alone_and_keeps_them_when_the_disk_is_full(sweep):
    assert sweep.run(*DRY, "beta=1,2")[0] == 0
    assert sweep.run(*DRY, "beta=2", "out=alone", multirun=False)[0] == 0
    [alone] = sweep.folder.glob("alone/clusters/*/metrics.json")
    job = sweep.folder / "outputs" / "clusters" / alone.parent.name
    assert (job / "metrics.json").read_bytes() == alone.read_bytes()
    command = Run(job).provenance()["sessions"][0]["command"]
    assert command.endswith("beta=2"), "the job's own, not the sweep's"

    before = {path: path.read_bytes() for path in job.iterdir() if path.name != ".lock"}
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))  # noqa: E731
    status, output = sweep.run(*DRY, "beta=2,3", limits=full)
    assert status == 1
    [failure] = [line for line in output.splitlines() if line.startswith("failed: ")]
    assert "beta=3" in failure
    assert "cannot write" in failure
    assert "make room" in failure
    assert "tried again" not in output, "another attempt would find it as full"
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in before} == before


def test_several_devices_of_one_run_are_refused_in_one_line(sweep):
    status, output = sweep.run(*DRY, "trainer.devices=2", multirun=False)
    assert (status, len(output.splitlines())) == (2, 1)
    assert "trainer.devices" in output
    assert "a sweep uses all devices, a run each" in output
    status, output = sweep.run(*DRY, "trainer.devices=2", "seed=0")
    assert status == 1
    assert "Traceback" not in output
    assert sweep.runs() == []


def test_a_place_that_cannot_be_written_is_said_before_anything_starts(sweep):
    (sweep.folder / "file").touch()
    status, output = sweep.run(*DRY, "seed=0,1", "out=file/x")
    assert status == 2
    assert "choose another with out=PATH" in output
    assert "Traceback" not in output


@dataclass
class WithHelpers:
    """A job that leaves joblib's processes behind when it is asked what remains: nothing."""

    run: Run
    overrides: tuple[str, ...] = ()

    def remaining(self):
        pids = joblib.Parallel(n_jobs=2)(joblib.delayed(os.getpid)() for _ in range(4))
        (self.run.path / "pids").write_text(json.dumps(pids))
        return ""

    def typed(self, *beginnings):
        return False


def test_a_process_ends_at_once_with_its_helpers(tmp_path):
    context = process_context()
    ours, theirs = context.Pipe()
    process = context.Process(target=do_jobs, args=([WithHelpers(Run(tmp_path))], theirs, [], 1))
    process.start()
    theirs.close()
    assert ours.poll(60)
    assert ours.recv() == (0, JobOutcome("elsewhere"))
    process.join(30)
    assert process.exitcode == 0
    for pid in json.loads((tmp_path / "pids").read_text()):
        assert not Path(f"/proc/{pid}").exists()
