"""One run from the moment somebody holds its folder to its end: what is kept of it, whatever happens."""

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger

from disvae.build import Built, count
from disvae.config import ConfigError
from disvae.evaluation.run_scores import evaluate_run
from disvae.logger.tensorboard import TensorBoard
from disvae.logger.wandb import Wandb
from disvae.pictures.run_figures import draw_run
from disvae.runs import settings
from disvae.runs.checkpoint import load
from disvae.runs.provenance import provenance
from disvae.runs.tags import main_term
from disvae.runs.tensorboard import at_end, write_scores
from disvae.system.instantiate import make
from disvae.system.signals import Interrupted, stop_if_asked
from disvae.training.callbacks import Checkpoints, Member
from disvae.training.checkpoint_io import resume
from disvae.training.job import Job
from disvae.training.module import Diverged, VAEModule
from disvae.training.parts import Parts
from disvae.training.starts import continue_from, shorter

log = logging.getLogger(__name__)


LARGE_WEIGHT = 1e6
"""The weight of a term from which on a divergence is blamed on it, not on the step size."""


class Stopped(RuntimeError):
    """A run that did not reach its end, with the process's exit status."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that a GPU or the machine has no memory left."""
    is_cpu = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return is_cpu or isinstance(error, (MemoryError, torch.OutOfMemoryError))


def _describe(built: Built, config: Mapping[str, Any], device: torch.device) -> str:
    name = {node: config[node]["_target_"].rpartition(".")[2] for node in ("model", "prior", "posterior", "likelihood")}
    images = f"{len(built.data.train_rows):,} of {len(built.dataset.images):,}"
    shape = "x".join(map(str, built.dataset.x_shape))
    place = f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return " · ".join(
        [
            type(built.objective).__name__,
            f"{type(built.dataset).__name__}, {images} images {shape}",
            f"{name['model']} {count(built.vae):,} parameters, z_dim {config['z_dim']}",
            f"p(z) {name['prior']}, q(z|x) {name['posterior']}, p(x|z) {name['likelihood']}",
            place,
        ]
    )


def make_loggers(config: Mapping[str, Any], folder: Path, step: int) -> list[Logger]:
    """Return the loggers of a resolved configuration; the run's hyperparameters are logged.

    Raises:
        ConfigError: a package is not installed, or a setting is wrong.
    """
    loggers: list[Logger] = []
    for name, node in config["logger"].items():
        try:
            logger = make(node, f"logger.{name}", folder=folder, step=step)
            if isinstance(logger, TensorBoard):
                logger.begin(config)
            else:
                logger.log_hyperparams(settings.flat_settings(config))
        except ConfigError:
            raise
        except Exception as error:  # of a service or its package: no address, no account, no network
            reason = str(error).partition("\n")[0]
            raise ConfigError(f"logger.{name} cannot begin: {type(error).__name__}: {reason}") from error
        loggers.append(logger)
    return loggers


def _remedy(config: Mapping[str, Any]) -> str:
    """Return what to change after a divergence: the weights that are too large for float32, or else the step size."""
    large = []
    for name, node in config["objective"].items():
        value = node.get("value") if isinstance(node, Mapping) else node
        if isinstance(value, int | float) and abs(value) > LARGE_WEIGHT:
            key = f"objective.{name}" if node is value else name if name in config else f"schedule.{name}.value"
            large.append(f"{key}, which is {value:g}")
    return f"Try a smaller {' and '.join(large)}" if large else "Try a lower optimizer.lr"


class RunTrainer:
    """What one process does for a run, from the moment it holds the run's folder."""

    def __init__(self, job: Job, parts: Parts) -> None:
        self.home, self.run = job.run, job.run.place(job.force)
        self.run.make()
        self.config, self.brief, self.report = job.config, job.brief, job.report
        self.parts, self.built, self.device = parts, parts.built, parts.device
        self.call = job.call
        self.member = Member(self.run, self.config)
        self.checkpoints = Checkpoints(self.member)
        self.started = time.monotonic()
        self.former = self.run.provenance().get("sessions", [])
        self.record: dict[str, Any] = {}
        self.checkpoint = load(self.run.last) if self.run.last.exists() else None
        self.trainer: pl.Trainer | None = None

    @property
    def at_step(self) -> int:
        """Return the number of steps done."""
        resumed = int(self.checkpoint["global_step"]) if self.checkpoint else 0
        return max(resumed, self.trainer.global_step if self.trainer else 0)

    @property
    def module(self) -> VAEModule:
        """Return the module that is trained."""
        return self.member.built

    def tell(self, activity: str, step: int) -> None:
        """Report what the run does, as long as it goes on."""
        if self.report and self.member.live:
            self.report(activity, step)

    def build(self) -> None:
        """Set the parts up in the run's folder, and go on from its last checkpoint.

        Raises:
            ConfigError: the images have changed, or a file cannot be read or written.
        """
        self.tell("preparing", self.at_step)
        if self.checkpoint and not self.brief:
            print(f"Continuing from step {self.at_step:,} ({self.run.last})")
        self.run.mark("running", self.run.status()["step"])
        self.record = provenance(str(self.device), torch.get_num_threads(), self.call)
        checksum = self.built.dataset.checksum
        if any(session.get("data_checksum") != checksum for session in self.former):
            remedy = "force=true starts it again" if self.run == self.home else "delete this folder to start it again"
            raise ConfigError(f"the images have changed since {self.run.path} was begun; {remedy}")
        self.record["data_checksum"] = checksum
        if self.checkpoint is None and self.run == self.home:
            self._continue_shorter()
        self.write_record()
        if not self.brief:
            repeated = "" if self.run == self.home else " (what it holds stays until the repeat is finished)"
            print(
                _describe(self.built, self.config, self.device), f"→ {self.home.path}{repeated}", sep="\n", flush=True
            )
        module = self.parts.module
        if self.checkpoint:
            resume(module, self.checkpoint, self.config["steps"], self.run.last)
        elif former := self.config.get("init_from"):
            self.record["init_from"] = former
            self.write_record()
        self.member.module, self.member.data = module, self.built.data
        self.member.loggers = make_loggers(self.config, self.run.path, self.at_step)

    def _continue_shorter(self) -> None:
        """Go on from the last step of a finished run with fewer steps, if the result is that of an uninterrupted run.

        The shorter run stays as it is.
        """
        former, reason = shorter(self.run, self.config)
        sessions = former.provenance().get("sessions", []) if former else []
        if former and any(session.get("data_checksum") == self.record["data_checksum"] for session in sessions):
            self.checkpoint = continue_from(former, self.run, self.config)
            self.record["continues"] = {"run": str(former.path), "step": self.at_step}
            self.run.mark("running", self.at_step)
            reason = f"Continuing from step {self.at_step:,} of {former.path}"
        elif reason:
            reason = f"Starting from step 0, since a run with fewer steps cannot be continued: {reason}"
        if reason and not self.brief:
            print(reason)

    @property
    def trained(self) -> bool:
        """Return whether the last step was made and its terms are kept: metrics.json is written after it."""
        return main_term(self.run.metrics()) is not None

    def score(self) -> None:
        """Score and draw the last weights into the run's folder; then the run is finished."""
        self.close_loggers()  # a later file of events follows
        started = time.monotonic()
        if self.parts.at_end.metrics:
            if not self.brief:
                number = len(self.parts.at_end.fitting(self.built.dataset.factors, self.config["score"]))
                print(f"Scoring by {number} metric{'s' * (number != 1)} (final=[] leaves them out) ...", flush=True)
            self.tell("scoring", self.at_step)
            said = evaluate_run(self.run, self.parts.at_end, self.config["score"], built=self.built, device=self.device)
            if not self.brief and said:
                print(said)
        else:
            write_scores(self.run.path, self.run.metrics(), self.at_step)
        self.member.log(at_end(self.run.metrics()), self.at_step)
        seconds = self.record.setdefault("seconds", {})
        seconds["scores"] = round(time.monotonic() - started, 1)
        started = time.monotonic()
        if self.parts.at_end_figures.figures:
            self.tell("drawing", self.at_step)
            draw_run(self.run, self.parts.at_end_figures, built=self.built, device=self.device)
            seconds["pictures"] = round(time.monotonic() - started, 1)
        self.close()
        if self.config["report"]:
            from disvae.pictures.run_page import write_page  # and what draws: none of it is needed to begin

            try:
                write_page(self.run, self.run.report, name=self.home.path.resolve().name, state="finished")
            except Exception as error:  # a page less must not make a finished run a failed one
                stop_if_asked()
                log.warning("%s could not be made: %s", self.run.report, error)
        more = {"error": self.member.ended} if self.member.ended else {}
        self.run.mark("finished", self.at_step, **more)  # last: whoever is killed before does all of this again
        self.run = self.home  # a repeat moves there, now or, if this process is killed, at the next command
        self.run.settle()

    def write_record(self) -> None:
        """Write down where the run's numbers come from."""
        self.run.create(self.config, {"sessions": [*self.former, self.record]})

    def close_loggers(self) -> None:
        """Close TensorBoard's events, which are all on disk after this; other loggers wait for the scores."""
        for logger in self.member.loggers:
            if isinstance(logger, TensorBoard):
                logger.close()
        self.member.loggers = [logger for logger in self.member.loggers if not isinstance(logger, TensorBoard)]

    def close(self) -> None:
        """Write everything down but the status."""
        self.close_loggers()
        for logger in self.member.loggers:
            logger.finalize("success" if self.member.live else "failed")
            if isinstance(logger, Wandb):
                logger.close()
        self.member.loggers = []
        if "data_checksum" in self.record:
            self.record["wall_s"] = round(time.monotonic() - self.started, 1)
            self.write_record()

    def failure(self, error: BaseException) -> BaseException:
        """Write down how the run ended; return what the caller has to raise."""
        self.member.live = False
        if self.run.finished():  # a signal after its last word takes nothing back
            return error
        step = self.at_step or self.run.status()["step"]  # while building it is not known yet
        try:
            if isinstance(error, Diverged):
                self.run.mark("diverged", step, error=str(error))
                good = (
                    f"the last good checkpoint is {self.run.last}"
                    if self.run.last.exists()
                    else "no checkpoint was reached"
                )
                return Stopped(f"training diverged at {error}; {good}. {_remedy(self.config)}", 4)
            if isinstance(error, Interrupted):
                self.run.mark("interrupted", step, error=str(error))
                return Stopped(f"{error} at step {step}; the same command continues it", 128 + error.signum)
            if out_of_memory(error):
                sizes = ", ".join(f"{key} ({self.config[key]:,})" for key in ("batch_size", "eval_images", "z_dim"))
                said = f"out of memory at step {step}: lower {sizes}, the model's widths or, in a sweep, launcher.pack"
                self.run.mark("failed", step, error=said)
                return Stopped(said, 1)
            state = "interrupted" if isinstance(error, SystemExit) else "failed"  # Slurm's limit: requeued by a handler
            self.run.mark(state, step, error=f"{type(error).__name__}: {error}")
            return error
        finally:
            with contextlib.suppress(ConfigError, OSError):  # of a full disk: the first error says more
                self.close()
