#!/usr/bin/env python
"""Checks on a GPU what tests on a CPU cannot, a line each, then a short benchmark. Exits 1 if a check failed.

    .venv/bin/python scripts/check_gpu.py [--benchmark no]

Networks and images are small, so that a few minutes are enough; numbers are compared after some tens of steps.
"""

import argparse
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch

from disvae.benchmark.workloads import Place, built, configuration
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.sweep import devices
from disvae.training.cuda_graph import WARM_UP, Rehearsal
from disvae.training.loop import fit, fit_together, set_up
from disvae.training.module import Steps, VAEModule
from disvae.training.packed.module import Packed
from disvae.training.run_trainer import Asked

SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=8", "dataset.scales=2", "batch_size=64")
POINTS = ("dataset=clusters", "dataset.points=100", "batch_size=100")
# Of the published 6 x 1000 units some are so near their kink that rounding decides on which side of it they are.
SMALL = ("objective.width=50", "objective.layers=2")
CASES = {
    "conv beta_vae": (*SPRITES, "objective=beta_vae"),
    "conv beta_tc": (*SPRITES, "objective=beta_tc"),
    "conv dip_vae": (*SPRITES, "objective=dip_vae", "posterior=full_gaussian"),
    "mlp factor_vae": (*POINTS, "objective=factor_vae", *SMALL),
    "mlp decomposition, mixture": (*POINTS, "objective=decomposition", "alpha=2", "prior=mixture"),
    "mlp decomposition, student_t, mmd": (
        *POINTS, "objective=decomposition", "alpha=2", "prior=student_t", "posterior=student_t", "divergence=mmd",
    ),
    "mlp jsd, sparse, amsgrad": (
        *POINTS, "objective=decomposition", "alpha=2", "prior=sparse", "divergence=jsd", "optimizer=amsgrad",
    ),
    "mlp beta_vae, adagrad": (*POINTS, "objective=beta_vae", "optimizer=adagrad"),
}  # fmt: skip
RUN = (
    "steps=40",
    "eval_every=20",
    "checkpoint_every=20",
    "eval_images=100",
    "eval_samples=50",
    "final=[]",
    "metric=[]",
)
STEPS = 30
CLOSE = 1e-3
"""Relative: rounding that 30 steps have made larger."""

Check = Callable[[], str]


class Failed(AssertionError):
    """A check, and what was seen instead."""


def gpu(precision: str = "32-true") -> Place:
    """The first GPU."""
    return Place(torch.device("cuda", 0), precision)


def apart(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """The largest relative difference of two runs' terms."""
    return max(abs(one[name] - other[name]) / (1 + abs(other[name])) for name in other)


def demand(holds: bool, said: str) -> str:
    """`said`, of a check that passed.

    Raises:
        Failed: it did not.
    """
    if not holds:
        raise Failed(said)
    return said


def steps(stepper: Steps, place: Place, n: int = STEPS) -> None:
    """Make n steps."""
    with place.computing():
        stepper.training_step({"first": stepper.step, "n": n}, 0)


def single(*overrides: str, place: Place | None = None) -> VAEModule:
    """A run after its steps, and how it made them."""
    place = place or gpu()
    module = built(overrides, place).module
    module.configure_optimizers()
    steps(module, place)
    return module


def captured(case: tuple[str, ...]) -> str:
    """Replayed steps are the eager ones, and a graph there is."""
    replayed, eager = single(*case), single(*case, "trainer.graph=false")
    difference = apart(replayed.last_terms, eager.last_terms)
    path = "a graph" if replayed._captured is not None else "NO GRAPH: see its message"
    return demand(replayed._captured is not None and difference < CLOSE, f"{path}; apart by {difference:.1e}")


def packed(case: tuple[str, ...]) -> str:
    """Members of a pack are what they are alone."""
    place, seeds = gpu(), (0, 1, 2)
    members = [built((*case, f"seed={seed}"), place).module for seed in seeds]
    pack = Packed(members, lambda member, error: None).to(place.device).train()
    pack.configure_optimizers()
    steps(pack, place)
    difference = max(
        apart(members[k].last_terms, single(*case, f"seed={seed}").last_terms) for k, seed in enumerate(seeds)
    )
    path = "a graph" if pack._captured is not None else "NO GRAPH: see its message"
    return demand(pack._captured is not None and difference < CLOSE, f"{path}; apart by {difference:.1e}")


def falls_back() -> str:
    """A step that asks the device goes on without a graph, even if its recording is tried and fails."""
    told = {}
    for name, tried in (("seen in the rehearsal", False), ("recording fails", True)):
        module = built(CASES["conv beta_vae"], gpu()).module
        forward = module.objective.forward

        def asks(draw, forward=forward):  # type: ignore[no-untyped-def]
            terms = forward(draw)
            terms["loss"].item()
            return terms

        module.objective.forward = asks  # type: ignore[method-assign]
        module.configure_optimizers()
        with _unseen() if tried else contextlib.nullcontext():
            steps(module, gpu())
        torch.cuda.empty_cache()  # fails where the allocator still thinks that it is recorded
        demand(not module.graph, f"{name}: it was recorded")
        told[name] = apart(module.last_terms, single(*CASES["conv beta_vae"], "trainer.graph=false").last_terms)
    single(*CASES["conv beta_vae"])  # another graph after the one that failed
    return demand(
        max(told.values()) < CLOSE, ", ".join(f"{name}: apart by {value:.1e}" for name, value in told.items())
    )


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    """The rehearsal sees nothing."""
    call = Rehearsal.__call__

    def blind(self: Rehearsal, step: Callable[[], torch.Tensor]) -> torch.Tensor:
        made = call(self, step)
        self.waits = []
        return made

    Rehearsal.__call__ = blind  # type: ignore[method-assign]
    try:
        yield
    finally:
        Rehearsal.__call__ = call  # type: ignore[method-assign]


def train(folder: Path, name: str, *overrides: str) -> Run:
    """A whole run by Lightning, or what is left of it."""
    run = Run(folder / name)
    fit(Asked(run, configuration((*SPRITES, *RUN, *overrides)), brief=True))
    return run


def terms(run: Run) -> dict[str, float]:
    """What a run ended with."""
    return {name: value for name, value in run.metrics().items() if name.startswith("train/")}


def resumes() -> str:
    """A run that was stopped goes on to the same numbers, on the GPU and from the CPU."""
    said = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for optimizer in ("adam", "adagrad"):
            whole = train(folder, f"{optimizer}-whole", f"optimizer={optimizer}")
            for first, then in (("gpu", "gpu"), ("cpu", "gpu"), ("gpu", "cpu")):
                run = f"{optimizer}-{first}-{then}"
                for accelerator, last in ((first, 20), (then, 40)):
                    overrides = (f"optimizer={optimizer}", f"trainer.accelerator={accelerator}", f"steps={last}")
                    made = train(folder, run, *overrides)
                    if last == 20:  # it would be finished
                        made.mark("interrupted", 20)
                difference = apart(terms(made), terms(whole))
                # Noise of the two devices differs: across them only the loss's size can be compared.
                near = CLOSE if first == then == "gpu" else 0.5
                said.append(f"{run} {difference:.1e}")
                demand(difference < near, said[-1])
                counts = {int(state["step"]) for state in load(made.last)["optimizer_states"][0]["state"].values()}
                demand(counts == {40}, f"{run}: its optimiser has counted {counts}")
    return ", ".join(said)


def together() -> str:
    """Runs packed by Lightning leave what runs alone leave, and the module's tensors survive its moves."""
    with tempfile.TemporaryDirectory() as name:
        folder, outcomes = Path(name), {}
        runs = [Run(folder / f"packed{seed}") for seed in (0, 1)]
        asked = [Asked(run, configuration((*SPRITES, *RUN, f"seed={k}")), brief=True) for k, run in enumerate(runs)]
        fit_together(asked, lambda i: None, outcomes.__setitem__)
        demand(outcomes == {0: True, 1: True}, str(outcomes))
        difference = max(
            apart(terms(run), terms(train(folder, f"alone{k}", f"seed={k}"))) for k, run in enumerate(runs)
        )
    return demand(difference < CLOSE, f"apart by {difference:.1e}")


def precision(name: str, *, graph: bool) -> str:
    """A whole run in a coarser precision is near the exact one, and not the same."""
    if torch.cuda.get_device_capability() < (8, 0):
        return "not in this GPU"
    with tempfile.TemporaryDirectory() as folder:
        coarse, exact = (
            train(Path(folder), kind, f"trainer.precision={kind}", f"trainer.graph={graph}")
            for kind in (name, "32-true")
        )
        difference = apart(terms(coarse), terms(exact))
    return demand(0 < difference < 0.2, f"apart by {difference:.1e} from 32-true")


def leases() -> str:
    """Two processes at once on one GPU, by the launcher, each in a slot of its own."""
    there = devices.find("gpu")
    demand(len(there) == torch.cuda.device_count(), f"{len(there)} GPUs found, torch has {torch.cuda.device_count()}")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "disvae.train", "-m", *SPRITES, *RUN, "seed=0,1,2,3", f"out={folder}/sweep"]
        slots = ["launcher.per_device=2", "launcher.pack=1"]
        ended = subprocess.run([*command, *slots], capture_output=True, text=True, check=False, timeout=900)
        finished = [path for path in Path(folder).rglob("status.json") if '"finished"' in path.read_text()]
    return demand(
        ended.returncode == 0 and len(finished) == 4,
        f"{len(finished)} of 4 runs finished, exit status {ended.returncode} {ended.stderr[-500:]}",
    )


def checks() -> dict[str, Check]:
    """All of them, by the name that is printed."""
    by_name: dict[str, Check] = {}
    for name, case in CASES.items():
        by_name[f"graph: {name}"] = lambda case=case: captured(case)  # type: ignore[misc]
    for name, case in CASES.items():
        by_name[f"pack: {name}"] = lambda case=case: packed(case)  # type: ignore[misc]
    return by_name | {
        "steps that cannot be recorded": falls_back,
        "resumed runs": resumes,
        "runs packed by Lightning": together,
        "tf32": lambda: precision("tf32", graph=True),
        "tf32, no graph": lambda: precision("tf32", graph=False),
        "bf16-mixed": lambda: precision("bf16-mixed", graph=True),
        "bf16-mixed, no graph": lambda: precision("bf16-mixed", graph=False),
        "two processes on one GPU": leases,
    }


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--benchmark", choices=("yes", "no"), default="yes", help="a short one after the checks")
    wanted = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here")
        return 0
    logging.basicConfig(format="%(message)s")
    logging.getLogger("disvae").setLevel(logging.INFO)  # says why a step is not recorded
    set_up()
    print(f"{torch.cuda.get_device_name(0)} · torch {torch.__version__} · graphs after {WARM_UP} steps", flush=True)
    failed = 0
    for name, check in checks().items():
        try:
            print(f"pass  {name}: {check()}", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc()
    print(f"{failed} of {len(checks())} checks failed" if failed else f"all {len(checks())} checks passed", flush=True)
    if wanted.benchmark == "yes":
        short = ["parts=[reference,steps,pack]", "batch_sizes=[64]", "pack=[4]", "seconds=0.5", "rounds=3"]
        subprocess.run([sys.executable, "-m", "disvae.benchmark", *short], check=False, env=os.environ)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
