"""Progress of a run: a bar on a terminal, a line from time to time elsewhere."""

import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.system.duration import duration
from disvae.training.callbacks import Seconds
from disvae.training.job import Report
from disvae.training.module import VAEModule

SHOWN = {"loss": "loss", "reconstruction": "reconstruction", "KL": "kl", "information": "information"}
"""The terms that a line shows, by the names it gives them, if the objective has them."""

AT_END = ("final", "final_figures", "score", "eval_images")
"""Settings that decide how long scores and pictures take after the last step."""


def seconds_at_end(run: Run, config: Mapping[str, Any]) -> float | None:
    """Return how long the newest finished run beside this one was scored and drawn; None if there is none like it."""
    records = run.path.parent.glob("*/provenance.json")
    for record in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True)[:5]:
        try:
            other, sessions = Run(record.parent).config(), Run(record.parent).provenance()["sessions"]
            if all(other.get(key) == config.get(key) for key in AT_END):
                seconds = sessions[-1]["seconds"]
                return float(seconds["scores"] + seconds.get("pictures", 0))
        except (ConfigError, LookupError, OSError):  # another process writes it now, or it is damaged
            continue
    return None


class Progress(pl.Callback):
    """Show step, images/s, time left, loss, reconstruction, KL and the last validation's total correlation.

    The time left counts steps, validations, scores and pictures: `at_end` is the time of the last two, if it is known.
    Without a terminal it prints a line at most every `quiet` seconds.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        seconds: Seconds,
        at_end: float | None = None,
        quiet: float = 30.0,
        every: float = 0.5,
    ) -> None:
        self.steps, self.batch_size, self.eval_every = config["steps"], config["batch_size"], config["eval_every"]
        self.seconds = seconds
        self.at_end = at_end
        self.live = sys.stderr.isatty()
        self.pause = every if self.live else quiet
        self.validations = 0
        self.tc = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the bar at the step from which the run continues."""
        self.first = trainer.global_step
        self.bar = tqdm(total=self.steps, initial=self.first, disable=not self.live, bar_format="{desc}", leave=False)
        self.shown = time.monotonic()

    def left(self, step: int) -> str:
        """Return the time from `step` to the end of the run: `1:30 left`, or `1:30 + scores left` if it is unknown."""
        seconds = (self.steps - step) * self.seconds.training / (step - self.first)
        coming = self.steps // self.eval_every - step // self.eval_every
        seconds += coming * self.seconds.validation / max(self.validations, 1)
        return f"{duration(seconds + (self.at_end or 0))}{' + scores' if self.at_end is None else ''} left"

    def line(self, module: VAEModule, step: int, width: int | None = None) -> str:
        """Return the progress, with what fits into `width` columns: loss, reconstruction and KL go last."""
        speed = f"{(step - self.first) * self.batch_size / self.seconds.training:,.0f} images/s"
        known = {name: module.last_terms[key] for name, key in SHOWN.items() if key in module.last_terms}
        terms = [f"{name} {value:z.2f}" for name, value in known.items()]
        short = [f"{name[:4]} {value:z.4g}" for name, value in known.items()]
        at, left = f"step {step:,}/{self.steps:,}", self.left(step)
        tc = [self.tc] * bool(self.tc)
        forms = [[at, speed, left, *terms, *tc], [at, left, *terms, *tc], [at, left, *terms], [at, left, *short], short]
        lines = [" · ".join(form) for form in forms]
        return next((line for line in lines if width is None or len(line) <= width), lines[-1])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show the progress if the last time is long enough ago."""
        if time.monotonic() - self.shown < self.pause or not self.seconds.training:
            return
        assert isinstance(pl_module, VAEModule)
        self.shown = time.monotonic()
        pl_module.fetch_terms()
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            line = self.line(pl_module, trainer.global_step, width)
            room = min(width - len(line) - len("100%|| "), 20)
            self.bar.bar_format = f"{{percentage:3.0f}}%|{{bar:{room}}}| {{desc}}" if room > 4 else "{desc}"
            self.bar.n = trainer.global_step
            self.bar.set_description_str(line)
        else:
            print(self.line(pl_module, trainer.global_step), flush=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the total correlation over from the validation."""
        assert isinstance(pl_module, VAEModule)
        if trainer.state.fn == "fit":
            self.validations += 1
            tc = pl_module.evaluation.get("structure/total_correlation")
            self.tc = "" if tc is None else f"TC {tc:z.2f} (validation)"

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
