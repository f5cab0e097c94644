"""Runs of this package for timing: build what makes steps from the overrides of a command line."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from disvae.benchmark.measure import Runner
from disvae.benchmark.settings import configuration
from disvae.runs.folder import Run
from disvae.training.callbacks import StopOnSignal
from disvae.training.cuda_graph import WholeStep
from disvae.training.job import Job
from disvae.training.loop import Training
from disvae.training.parts import prepare
from disvae.training.run_trainer import RunTrainer
from disvae.training.trainer import set_up

Overrides = tuple[str, ...]

NOTHING_ELSE = ("final=[]", "metric=[]", "figure=[]", "final_figures=[]", "report=false")
"""Overrides that leave out scores and pictures."""

STEPS = 10**9  # more than any measurement makes
ENDLESS = tuple(f"{key}={STEPS}" for key in ("steps", "eval_every", "checkpoint_every"))


def training_of(folder: Path, *runs: Overrides) -> Training:
    """Return the training of runs with these overrides, in new folders inside `folder`; several runs are packed.

    Raises:
        ConfigError: an override does not exist, or the parts do not work together.
    """
    set_up()
    trainers: list[RunTrainer] = []
    for overrides in runs:
        config = configuration((*NOTHING_ELSE, *overrides))
        job = Job(Run(Path(tempfile.mkdtemp(dir=folder))), config, brief=True)
        trainer = RunTrainer(job, prepare(job, trainers[0].built.dataset if trainers else None))
        trainer.build()
        trainers.append(trainer)
    return Training(trainers, StopOnSignal())


def bare(folder: Path, *runs: Overrides) -> Runner:
    """Return a function that makes steps without Lightning's loop, each with the schedules and noise of step 0.

    Several runs are packed.
    """
    training = training_of(folder, *((*overrides, *ENDLESS) for overrides in runs))
    device = training.trainer.strategy.root_device
    module: Any = training.module.to(device).train()
    optimizer = module.configure_optimizers()
    training.data.trainer = training.trainer
    rows = iter(training.data.train_dataloader())

    def run(n: int) -> None:
        for _ in range(n):
            batch = training.data.transfer_batch_to_device(next(rows), device, 0)
            with training.trainer.precision_plugin.train_step_context():
                loss = module.training_step(batch, 0)
            if not isinstance(module, WholeStep):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                module.configure_gradient_clipping(optimizer)
                optimizer.step()
        module.fetch_terms()

    return run


class _Turns(pl.Callback):
    def __init__(self, turn: Callable[[], None]) -> None:
        self.turn = turn

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        self.turn()


def whole(turn: Callable[[], None], folder: Path, *runs: Overrides) -> None:
    """Train one run, or packed runs, in Lightning's loop without end; call `turn` before each step."""
    training = training_of(folder, *((*overrides, *ENDLESS) for overrides in runs))
    training.trainer.callbacks.append(_Turns(turn))  # type: ignore[attr-defined]
    training.train()
