"""Progress of a run: a bar on a terminal, a line from time to time elsewhere."""

import sys
import time
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from disvae.system.duration import duration
from disvae.training.callbacks import Seconds
from disvae.training.job import Report
from disvae.training.module import VAEModule

SHOWN = {"loss": "loss", "reconstruction": "reconstruction", "KL": "kl"}
"""The terms that a line shows, by the names it gives them."""


class Progress(pl.Callback):
    """Show step, images/s, time left, loss, reconstruction, KL and the last validation's total correlation.

    Without a terminal it prints a line at most every `quiet` seconds.
    """

    def __init__(self, steps: int, batch_size: int, seconds: Seconds, quiet: float = 30.0, every: float = 0.5) -> None:
        self.steps = steps
        self.batch_size = batch_size
        self.seconds = seconds
        self.live = sys.stderr.isatty()
        self.pause = every if self.live else quiet
        self.tc = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step from which the run continues."""
        self.first = trainer.global_step
        self.bar = tqdm(
            total=self.steps,
            initial=self.first,
            disable=not self.live,
            bar_format="{percentage:3.0f}%|{bar:20}| {desc}",
            leave=False,
        )
        self.shown = time.monotonic()

    def _line(self, module: VAEModule, step: int) -> str:
        module.fetch_terms()
        done = step - self.first
        left = (self.steps - step) * self.seconds.training / done
        said = [f"{name} {module.last_terms[key]:z.2f}" for name, key in SHOWN.items()]
        speed = f"{done * self.batch_size / self.seconds.training:,.0f} images/s"
        return " · ".join([f"step {step:,}/{self.steps:,}", speed, f"{duration(left)} left", *said]) + self.tc

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the progress if the last time is long enough ago."""
        if time.monotonic() - self.shown < self.pause or not self.seconds.training:
            return
        assert isinstance(pl_module, VAEModule)
        self.shown = time.monotonic()
        line = self._line(pl_module, trainer.global_step)
        if self.live:
            self.bar.n = trainer.global_step
            self.bar.set_description_str(line)
        else:
            print(line, flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the total correlation over from the validation."""
        assert isinstance(pl_module, VAEModule)
        if trainer.state.fn == "fit":
            tc = pl_module.evaluation.get("structure/total_correlation")
            self.tc = "" if tc is None else f" · TC {tc:z.2f} (validation)"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Close the bar at the end of training."""
        self.bar.close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Leave the terminal clean."""
        if hasattr(self, "bar"):
            self.bar.close()


class Reporting(pl.Callback):
    """Call `report` with what goes on, at most every `every` seconds while training."""

    def __init__(self, report: Report, every: float = 0.5) -> None:
        self.report = report
        self.every = every
        self.told = 0.0

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Report the step if the last report is long enough ago."""
        if time.monotonic() - self.told >= self.every:
            self.told = time.monotonic()
            self.report("training", trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report that the step stands still for a while."""
        self.report("validating", trainer.global_step)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Report the scoring of the held-out images."""
        self.report("validating", trainer.global_step)
