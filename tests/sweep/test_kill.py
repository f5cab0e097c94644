"""kill -9 at random points, and the same command again: nothing is lost, nothing done twice, every digit the same."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from disvae.runs import Run

JOBS = 12
COMMAND = (
    "dataset=clusters",
    "steps=20",
    "eval_every=10",
    "checkpoint_every=5",
    "eval_images=20",
    "eval_samples=10",
    "metric=[]",
    "final=[]",
    "objective=beta_vae,beta_tc",
    "beta=1,4",
    "seed=0,1,2",
    "launcher.processes=2",
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> tuple[dict[str, bytes], float]:
    """The final terms by run, and how many seconds the sweep took."""
    from conftest import Sweep

    sweep = Sweep(tmp_path_factory.mktemp("undisturbed"))
    begun = time.monotonic()
    status, output = sweep.run(*COMMAND)
    assert status == 0, output
    assert sweep.processes() == []
    metrics = {run.name: (run / "metrics.json").read_bytes() for run in sweep.runs()}
    assert len(metrics) == JOBS
    return metrics, time.monotonic() - begun


def finishes(run: Path) -> int:
    """How often a run came to its end: its log ends with the table each time."""
    log = run / "log.txt"
    return log.read_text().count("TensorBoard:  ") if log.exists() else 0


def disturb(sweep, rng: random.Random, seconds: float, kill_launcher: bool) -> None:
    """Start the sweep and kill it, or one of the processes it has started, at a random moment; then let it end."""
    process = sweep.start(*COMMAND)
    time.sleep(rng.uniform(0.1, 1) * seconds)
    others = [pid for pid in sweep.processes() if pid != process.pid]
    if kill_launcher:
        process.kill()
    elif others:
        os.kill(rng.choice(others), signal.SIGKILL)
    output, _ = process.communicate(timeout=300)
    if not kill_launcher:
        assert process.returncode == 0, output  # the launcher has tried again by itself


@pytest.mark.parametrize("victim", ["launcher", "child"])
@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_sweeps_end_as_if_nothing_had_happened(sweep, undisturbed, victim, kills):
    metrics, seconds = undisturbed
    rng = random.Random(f"{victim}{kills}")
    for kill in range(kills):
        if kill and len(done(sweep)) == JOBS:  # all is done: another sweep for the next kills
            compare(sweep, metrics)
            for path in sweep.runs():
                for file in path.iterdir():
                    file.unlink()
                path.rmdir()
        disturb(sweep, rng, seconds, victim == "launcher")
    status, output = sweep.run(*COMMAND)
    assert status == 0, output
    compare(sweep, metrics)
    until_gone(sweep)
    status, output = sweep.run(*COMMAND)
    assert f"{JOBS} jobs · {JOBS} finished before" in output
    compare(sweep, metrics)


def done(sweep) -> list[Path]:
    return [path for path in sweep.runs() if Run(path).status()["state"] == "finished"]


def until_gone(sweep) -> None:
    """Nothing that was started is left after a moment."""
    for _ in range(100):
        if not sweep.processes():
            return
        time.sleep(0.1)
    pytest.fail(f"processes are left: {sweep.processes()}")


def compare(sweep, metrics: dict[str, bytes]) -> None:
    assert {path.name: (path / "metrics.json").read_bytes() for path in done(sweep)} == metrics
    for path in done(sweep):
        assert finishes(path) <= 1, f"{path} was done twice"
        Run(path).lock().release()  # nobody holds it
        assert not list(path.glob(".*.[0-9]*")), "a file that was being written"
