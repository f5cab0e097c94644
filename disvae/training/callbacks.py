"""What happens around the steps: scores, pictures, checkpoints, stopping on a signal, and the time all this takes.

A run's own callbacks look at the run they were made for, which may be one of several that are trained together.
"""

import logging
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger

from disvae.dataset.batches import Data
from disvae.encoding import Encoding, encoding_of
from disvae.evaluation.compute import MODEL, compute_scores
from disvae.evaluation.run_scores import Chosen
from disvae.pictures.run_figures import Pictures, draw_figures, view_of
from disvae.runs.folder import Run
from disvae.runs.tags import logged
from disvae.runs.verdict import collapsed, suspects
from disvae.schedule import Schedule, settled
from disvae.system.signals import Interrupted, interrupt, interruptible, stop_if_asked, take_signals
from disvae.training.module import VAEModule

log = logging.getLogger(__name__)


@dataclass
class Member:
    """A run in training: its folder, configuration, loggers and built parts, and whether it still goes on."""

    run: Run
    config: Mapping[str, Any]
    loggers: list[Logger] = field(default_factory=list)
    module: VAEModule | None = None
    data: Data | None = None
    live: bool = True
    ended: str = ""  # why the run ended before its last step, if it did
    leave: Callable[[Exception], None] | None = None  # what ends this run alone, if others are trained with it

    @contextmanager
    def own(self) -> Iterator[None]:
        """Let an error in the body end this run, and not those that are trained with it."""
        try:
            yield
        except Exception as error:
            stop_if_asked()
            if self.leave is None:
                raise
            self.leave(error)

    @property
    def built(self) -> VAEModule:
        """Return the module, which has to be built."""
        assert self.module is not None
        return self.module

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Write points at `step` to all loggers of the run, under the tags of `logged`."""
        with self.own():
            for logger in self.loggers:
                logger.log_metrics(logged(values), step)


class AtValidation(pl.Callback):
    """Look at the encoding of each validation but the last, whose scores and pictures are those of the trained run."""

    wanted: bool

    def __init__(self, member: Member) -> None:
        self.member = member

    @abstractmethod
    def look(self, module: VAEModule, encoding: Encoding, step: int) -> None:
        """Use what the validation at `step` encoded."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, unless this is the validation of the trained run."""
        between = trainer.state.fn == "fit" and trainer.global_step < self.member.config["steps"]
        if self.wanted and self.member.live and between:
            module, data = self.member.built, self.member.data
            assert data is not None
            with self.member.own():
                encoding = encoding_of(module.vae, module.encodings, data.dataset, data.validation_rows)
                self.look(module, encoding, trainer.global_step)


class Scores(AtValidation):
    """Log the chosen metrics under the tags of `logged`."""

    def __init__(self, member: Member, chosen: Chosen) -> None:
        super().__init__(member)
        self.chosen = chosen
        self.wanted = bool(chosen.metrics)
        self.said: set[str] = set()

    def look(self, module: VAEModule, encoding: Encoding, step: int) -> None:
        """Compute and log the metrics; the reason why one fails is told once."""
        sources, score = {MODEL: [encoding]}, self.member.config["score"]
        results = compute_scores(
            self.chosen.metrics,
            sources,
            repeats=0,
            seed=score["seed"],
            named=self.chosen.named,
            bins=score.get("bins"),
            factors=score.get("factors"),
        )
        for label, result in results.items():
            self.member.log(
                {f"metric/{label}/{name}": scores[MODEL].value for name, scores in result.scores.items()}, step
            )
            for reason in result.failed.values():
                if label not in self.said:
                    log.warning("metric %s is not available: %s", label, reason)
                self.said.add(label)


class Figures(AtValidation):
    """Log the chosen pictures under the tags of FIGURES."""

    def __init__(self, member: Member, pictures: Pictures) -> None:
        super().__init__(member)
        self.pictures = pictures
        self.wanted = bool(pictures.figures)

    def look(self, module: VAEModule, encoding: Encoding, step: int) -> None:
        """Draw the pictures and give them to every logger that shows pictures."""
        view = view_of(encoding, self.member.config, self.member.run.path)
        for label, content, _ in draw_figures(self.pictures, module.vae, view):
            for logger in self.member.loggers:
                if hasattr(logger, "log_picture"):
                    logger.log_picture(label, content, step)


def _check(trainer: pl.Trainer) -> None:
    """Wait for the steps that a GPU has still to make, and learn which runs have diverged."""
    module: Any = trainer.lightning_module
    module.check()


class Checkpoints(pl.Callback):
    """Write `last.ckpt` every `checkpoint_every` steps and `best.ckpt` at each validation with the best ELBO so far."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.every = member.config["checkpoint_every"]
        self.saved: int | None = None
        self.seconds = 0.0  # spent on writing

    def write(self, trainer: pl.Trainer, path: Any) -> None:
        """Write a checkpoint of this run to `path`."""
        started = time.perf_counter()
        trainer.save_checkpoint(path, storage_options=self.member.module)
        self.seconds += time.perf_counter() - started

    def save(self, trainer: pl.Trainer) -> None:
        """Write last.ckpt and note its step, unless it was written at this step or the run has diverged."""
        _check(trainer)
        if self.member.live and self.saved != trainer.global_step:
            with self.member.own():
                self.write(trainer, self.member.run.last)
                self.saved = trainer.global_step
                self.member.run.mark("running", trainer.global_step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the checkpoint that the run goes on from as written."""
        self.saved = trainer.global_step

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        """Save if it is time: now all is done that belongs to the step before, its validation too."""
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the trained run."""
        self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write best.ckpt if the ELBO, or what the objective names as `best`, is the best so far."""
        _check(trainer)
        if not self.member.live:  # it has no evaluation of this step
            return
        member = self.member.built
        now = member.evaluation[member.objective.best]
        if now > member.best_elbo:
            member.best_elbo = now
            with self.member.own():
                self.write(trainer, self.member.run.best)


class CollapseGuard(pl.Callback):
    """Say once that no latent is active long after the warm-up, and with on_collapse=stop end the run.

    Every run looks collapsed at first. So the guard waits until all weights have their last values, then for GRACE
    steps or half of the steps that are left, if these are fewer; and it looks at no validation before LEAST steps.
    """

    LEAST = 500
    GRACE = 5000

    def __init__(self, member: Member) -> None:
        self.member = member
        self.said = False

    def first(self, steps: int) -> int:
        """Return the first step at which a run of `steps` steps may be called collapsed."""
        parts = self.member.built.objective.modules()
        schedules = [value for part in parts for value in vars(part).values() if isinstance(value, Schedule)]
        warm = max((settled(schedule, steps) for schedule in schedules), default=0)
        return max(self.LEAST, warm + min(self.GRACE, (steps - warm) // 2))

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the validation, unless it is that of the trained run, whose verdict says the same."""
        config, step = self.member.config, trainer.global_step
        between = trainer.state.fn == "fit" and step < config["steps"]
        if self.said or not (self.member.live and between) or step < self.first(config["steps"]):
            return
        if not collapsed({f"val/{name}": value for name, value in self.member.built.evaluation.items()}):
            return
        self.said = True
        name = f"{self.member.run.path.name}: " if self.member.leave else ""
        first, second = suspects(config)
        said = f"no latent is active at step {step:,}; most likely at fault are {first} and {second}"
        if config.get("on_collapse") == "stop":
            self.member.ended = f"collapsed: {said}"
            trainer.should_stop = True
            log.warning("%sPosterior collapse ends this run: %s", name, said)
        else:
            log.warning("%sPosterior collapse: %s. on_collapse=stop would end the run here", name, said)


class StopOnSignal(pl.Callback):
    """Let signals that ask to stop finish the step, write checkpoints and stop; outside training they stop at once.

    A second signal stops at once, too. It is a context manager around whole runs, and `training` around their steps.
    """

    def __init__(self) -> None:
        self.checkpoints: Sequence[Checkpoints] = []
        self.waits = False
        self.received: int | None = None
        self._signals = interruptible(self._handle)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None or not self.waits:
            interrupt(signum, frame)
        self.received = signum

    def __enter__(self) -> "StopOnSignal":
        self._signals.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._signals.__exit__(*error)

    @contextmanager
    def training(self) -> Iterator[None]:
        """Let a signal in the body wait for the next step or, after the last one, for the body's end.

        Lightning's set-up and clean-up are in the body: neither can be broken off anywhere.

        Raises:
            Interrupted: a signal came, and all is written.
        """
        stop_if_asked()
        self.waits = True
        try:
            yield
        finally:
            self.waits = False
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which would exit with status 0."""
        take_signals(self._handle)

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        """Stop if a signal came since the step before began.

        Raises:
            Interrupted: after the checkpoints are written.
        """
        if self.received is not None:
            for checkpoints in self.checkpoints:
                checkpoints.save(trainer)
            raise Interrupted(self.received)


class Seconds(pl.Callback):
    """Count the seconds spent on steps, on validations and on the held-out sample. It has to be the last callback.

    A GPU makes its steps while the program goes on, so the steps get all the time from the first one on that is spent
    neither on validations, their scores and pictures, nor on checkpoints.
    """

    def __init__(self, checkpoints: Sequence[Checkpoints]) -> None:
        self.checkpoints = checkpoints
        self.validation = 0.0
        self.held_out = 0.0
        self.training = 0.0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, i: int
    ) -> None:
        """Set the time of all steps so far."""
        others = self.validation + sum(checkpoints.seconds for checkpoints in self.checkpoints)
        self.training = time.perf_counter() - self.began - others

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.since = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the time since the validation began."""
        self.validation += time.perf_counter() - self.since

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.since = time.perf_counter()

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the time since the held-out sample was begun."""
        self.held_out += time.perf_counter() - self.since
