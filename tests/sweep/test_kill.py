"""kill -9 at random points, and the same command again: nothing is lost, nothing done twice, every digit the same."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from disvae.runs.folder import Run
from tests.sweep.sweep_command import Sweep

JOBS = 12
KILLS = [1, pytest.param(int(os.environ.get("DISVAE_TEST_KILLS", "2")), marks=pytest.mark.slow)]
"""Numbers of kills; DISVAE_TEST_KILLS=20 takes some minutes."""

COMMAND = (
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
    "objective=beta_vae,beta_tc",
    "beta=1,4",
    "seed=0,1,2",
    "launcher.processes=2",
    "launcher.pack=1",  # every digit is that of the run alone
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, bytes], float]:
    """The final terms by run, and how many seconds the sweep took."""
    sweep = Sweep(tmp_path_factory.mktemp("undisturbed"))
    begun = time.monotonic()
    status, output = sweep.run(*COMMAND)
    assert status == 0, output
    metrics = {run.name: (run / "metrics.json").read_bytes() for run in done(sweep)}
    assert len(metrics) == JOBS
    return metrics, time.monotonic() - begun


def done(sweep) -> list[Path]:
    return [path for path in sweep.runs() if Run(path).finished()]


class Ledger:
    """What was finished when somebody looked: it must never be begun again."""

    def __init__(self, sweep, metrics: dict[str, bytes]) -> None:
        self.sweep = sweep
        self.metrics = metrics
        self.sessions: dict[Path, bytes] = {}

    def look(self) -> int:
        """Compare with the undisturbed sweep and with the last look; returns how many are finished."""
        for run in done(self.sweep):
            assert (run / "metrics.json").read_bytes() == self.metrics[run.name]
            sessions = (run / "provenance.json").read_bytes()  # each attempt adds one, with its time
            assert self.sessions.setdefault(run, sessions) == sessions, f"{run} was done twice"
        return len(self.sessions)

    def close(self) -> None:
        """All are done, nothing else is there; the folder is made empty for another sweep."""
        status, output = self.sweep.run(*COMMAND)
        assert status == 0, output
        assert self.look() == JOBS == len(self.sweep.runs())
        assert f"{JOBS} jobs · {JOBS} finished before" in self.sweep.run(*COMMAND)[1]
        self.look()
        for run in self.sessions:
            assert (run / "log.txt").read_text().count("TensorBoard:  ") <= 1  # the table at the end of a run
            Run(run).lock().release()  # nobody holds it
            assert not list(run.glob(".*.[0-9]*")), "a file that was being written"
        end = time.monotonic() + 10
        while self.sweep.processes():
            assert time.monotonic() < end, f"processes are left: {self.sweep.processes()}"
            time.sleep(0.05)
        shutil.rmtree(self.sweep.folder / "outputs")
        self.sessions.clear()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
def test_a_sweep_whose_launcher_is_killed_is_finished_by_the_same_command(sweep, undisturbed, kills):
    metrics, seconds = undisturbed
    ledger = Ledger(sweep, metrics)
    rng = random.Random(kills)
    for _ in range(kills):
        process = sweep.start(*COMMAND)
        time.sleep(rng.uniform(0.1 if kills > 1 else 0.8, 1) * seconds)
        process.kill()
        process.wait()
        process.stdout.close()  # its jobs may still write their checkpoints while the next sweep begins
        if ledger.look() == JOBS:
            ledger.close()
    ledger.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kills", KILLS)
def test_a_sweep_whose_processes_are_killed_finishes_by_itself(sweep, undisturbed, kills):
    metrics, seconds = undisturbed
    ledger = Ledger(sweep, metrics)
    rng = random.Random(kills)
    while kills:
        process = sweep.start(*COMMAND, "launcher.retries=20")
        while process.poll() is None:
            time.sleep(rng.uniform(0.02, 0.3) * seconds)
            others = [pid for pid in sweep.processes() if pid != process.pid]  # jobs, their server, its helper
            if others and kills:
                os.kill(rng.choice(others), signal.SIGKILL)
                kills -= 1
            ledger.look()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert ledger.look() == JOBS
        ledger.close()
