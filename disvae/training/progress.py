"""Live progress: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from disvae.system.duration import duration
from disvae.training.job import Report
from disvae.training.module import Steps

SHOWN = {"loss": "loss", "reconstruction": "reconstruction", "KL": "kl"}
"""Terms by the names a line has for them."""


class Progress(pl.Callback):
    """Step, images/s, time left, loss, reconstruction, KL and TC (at validation, against the aggregate posterior).

    Off a terminal it prints a line at most every `quiet` seconds.
    """

    def __init__(self, steps: int, batch_size: int, quiet: float = 30.0, every: float = 0.5) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.live = sys.stderr.isatty()
        self.pause = every if self.live else quiet
        self.tc = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step the run goes on from."""
        assert isinstance(pl_module, Steps)
        self.first = pl_module.step
        self.bar = tqdm(
            total=self.steps,
            initial=self.first,
            disable=not self.live,
            bar_format="{percentage:3.0f}%|{bar:20}| {desc}",
            leave=False,
        )
        self.shown = time.monotonic()

    def _line(self, module: Steps) -> str:
        step, terms = module.step, module.members[0].last_terms
        done = step - self.first
        left = (self.steps - step) * module.training_s / done
        said = [f"{name} {terms[key]:.2f}" for name, key in SHOWN.items()]
        speed = f"{done * self.batch_size / module.training_s:,.0f} images/s"
        return " · ".join([f"step {step:,}/{self.steps:,}", speed, f"{duration(left)} left", *said]) + self.tc

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the state if the last showing is long enough ago."""
        if time.monotonic() - self.shown < self.pause:
            return
        assert isinstance(pl_module, Steps)
        self.shown = time.monotonic()
        line = self._line(pl_module)
        if self.live:
            self.bar.n = pl_module.step
            self.bar.set_description_str(line)
        else:
            print(line, flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the total correlation over from the validation."""
        assert isinstance(pl_module, Steps)
        if trainer.state.fn == "fit":
            tc = pl_module.members[0].evaluation.get("structure/total_correlation")
            self.tc = "" if tc is None else f" · TC {tc:.2f} (validation)"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar."""
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal clean."""
        if hasattr(self, "bar"):
            self.bar.close()


class Reporting(pl.Callback):
    """Tells somebody else what goes on, at most every `every` seconds while training."""

    def __init__(self, report: Report, every: float = 0.5) -> None:
        self.report = report
        self.every = every
        self.told = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell the step if the last telling is long enough ago."""
        if time.monotonic() - self.told >= self.every:
            self.told = time.monotonic()
            assert isinstance(pl_module, Steps)
            self.report("training", pl_module.step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The step stands still for a while."""
        assert isinstance(pl_module, Steps)
        self.report("validating", pl_module.step)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The same, for the held-out images."""
        assert isinstance(pl_module, Steps)
        self.report("validating", pl_module.step)
