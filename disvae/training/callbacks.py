"""What happens around the steps: curves, scores, checkpoints, stopping on a signal.

A run's own callbacks look at the run they were made for, which may be one of several that are trained together.
"""

import logging
import signal
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from disvae.data.batches import Chunks
from disvae.encoding import Encoding, encoding_of
from disvae.evaluation.compute import MODEL, score
from disvae.evaluation.run_scores import Chosen
from disvae.pictures.run_figures import Pictures, draw, log_picture, view_of
from disvae.runs.checkpoint import save
from disvae.runs.folder import Run
from disvae.runs.tensorboard import begin, later_file
from disvae.system.signals import Interrupted
from disvae.training.module import Steps, VAEModule

log = logging.getLogger(__name__)


@dataclass
class Member:
    """A run in training: its folder and configuration, its module once it is built, and whether it still goes on."""

    run: Run
    config: Mapping[str, Any]
    module: VAEModule | None = None
    live: bool = True

    @property
    def built(self) -> VAEModule:
        """The module."""
        assert self.module is not None
        return self.module


class Curves(pl.Callback):
    """The terms to TensorBoard: `train/*` every `log_every` steps, `val/*` at each validation; nats per image."""

    def __init__(self, member: Member) -> None:
        self.member = member
        self.every = member.config["log_every"]

    def write(self, stage: str, values: Mapping[str, float], step: int) -> None:
        """Points at `step` under `STAGE/NAME`."""
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the events."""
        self.open(self.member.built.step)

    def open(self, step: int) -> None:
        """Be ready to write after a checkpoint of `step`; points that came after it are dropped from view."""
        if not hasattr(self, "writer"):
            later_file(self.member.run.path)
            self.writer = SummaryWriter(str(self.member.run.path), purge_step=step + 1, flush_secs=10)
            begin(self.writer, self.member.config)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the chunk's terms."""
        if self.member.live:
            self.write_terms()

    def write_terms(self) -> None:
        """Points of the last chunk's steps that are one of every `log_every`, counted from 1, and finite."""
        terms = self.member.built.terms
        assert terms is not None
        for step in range(terms.first, terms.end):
            if (step + 1) % self.every == 0:
                self.write("train", terms.of(step), step + 1)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the validation's scores."""
        if self.member.live:
            module = self.member.built
            self.open(module.step)
            self.write("val", module.evaluation, module.step)
            self.writer.flush()

    def close(self) -> None:
        """All points are on disk after this."""
        if hasattr(self, "writer"):
            self.writer.close()


class AtValidation(pl.Callback):
    """Looks at the encoding of each validation but the last, whose scores and pictures are those of the trained run."""

    wanted: bool

    def __init__(self, curves: Curves) -> None:
        self.curves = curves
        self.member = curves.member

    @abstractmethod
    def look(self, module: VAEModule, encoding: Encoding) -> None:
        """Called with what the validation encoded."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look, if this is such a one."""
        module = self.member.built
        between = trainer.state.fn == "fit" and module.step < self.member.config["steps"]
        if self.wanted and self.member.live and between:
            rows = module.data.validation_rows
            self.look(module, encoding_of(module.vae, module.encodings, module.data.dataset, rows))


class Scores(AtValidation):
    """Metrics as `metric/*`."""

    def __init__(self, curves: Curves, chosen: Chosen) -> None:
        super().__init__(curves)
        self.chosen = chosen
        self.wanted = bool(chosen.metrics)
        self.said: set[str] = set()

    def look(self, module: VAEModule, encoding: Encoding) -> None:
        """Compute and write; a metric that fails says so once."""
        sources, seed = {MODEL: [encoding]}, self.member.config["score"]["seed"]
        results = score(self.chosen.metrics, sources, repeats=0, seed=seed, named=self.chosen.named)
        for label, result in results.items():
            values = {f"{label}/{name}": scores[MODEL].value for name, scores in result.scores.items()}
            self.curves.write("metric", values, module.step)
            for reason in result.failed.values():
                if label not in self.said:
                    log.warning("metric %s is not to be had: %s", label, reason)
                self.said.add(label)


class Figures(AtValidation):
    """Pictures as `figure/*`."""

    def __init__(self, curves: Curves, pictures: Pictures) -> None:
        super().__init__(curves)
        self.pictures = pictures
        self.wanted = bool(pictures.figures)

    def look(self, module: VAEModule, encoding: Encoding) -> None:
        """Draw and write."""
        view = view_of(encoding, self.member.config, self.member.run.path)
        for label, content, _ in draw(self.pictures, module.vae, view):
            log_picture(self.curves.writer, label, content, module.step)


class AfterSteps(pl.Callback):
    """Does something when a chunk of steps is over and, if it is followed by a validation, that too."""

    eval_every: int
    steps: int

    def watch_for(self, config: Mapping[str, Any]) -> None:
        """When validations are due."""
        self.eval_every, self.steps = config["eval_every"], config["steps"]

    @abstractmethod
    def after_steps(self, module: Steps) -> None:
        """Called once a chunk; a checkpoint written here holds all that its steps brought about."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The chunk is over unless it is to be validated."""
        assert isinstance(pl_module, Steps)
        if pl_module.step % self.eval_every and pl_module.step != self.steps:
            self.after_steps(pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The chunk is over."""
        assert isinstance(pl_module, Steps)
        if trainer.state.fn == "fit":
            self.after_steps(pl_module)


class Checkpoints(AfterSteps):
    """`last.ckpt` every `checkpoint_every` steps and `best.ckpt` at each validation with the best ELBO so far."""

    def __init__(self, member: Member, best_elbo: float = float("-inf")) -> None:
        self.watch_for(member.config)
        self.member = member
        self.every = member.config["checkpoint_every"]
        self.best_elbo = best_elbo

    def content(self, module: Steps) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {**module.checkpoint_of(self.member.built), "best_elbo": self.best_elbo}

    def save(self, module: Steps) -> None:
        """Write last.ckpt and note its step."""
        save(self.content(module), self.member.run.last)
        self.member.run.mark("running", module.step)

    def after_steps(self, module: Steps) -> None:
        """Save the best, and the last if it is time."""
        member = self.member.built
        if not self.member.live:
            return
        if member.evaluated_at == module.step and member.evaluation["elbo"] > self.best_elbo:
            self.best_elbo = member.evaluation["elbo"]
            save(self.content(module), self.member.run.best)
        if module.step % self.every == 0 or module.step == self.steps:
            self.save(module)


class StopOnSignal(AfterSteps):
    """Ctrl-C and SIGTERM let the step finish, write checkpoints and stop; a second one, or one outside training, stops
    at once. A context manager about whole runs.
    """

    def __init__(self) -> None:
        self.checkpoints: Sequence[Checkpoints] = []
        self.training = False
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def watch(self, checkpoints: Sequence[Checkpoints]) -> None:
        """Those to be written, of runs that are trained as one."""
        self.checkpoints = checkpoints
        self.watch_for(checkpoints[0].member.config)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None or not self.training:
            raise Interrupted(signum)
        self.received = signum

    def _take(self) -> None:
        for signum in (signal.SIGINT, signal.SIGTERM):
            former = signal.signal(signum, self._handle)
            self._former.setdefault(signum, former)

    def __enter__(self) -> "StopOnSignal":
        self._take()
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former.clear()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, which would exit with status 0."""
        assert isinstance(pl_module, Steps)
        pl_module.stopping = lambda: self.received is not None
        self.training = True
        self._take()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """All is written: from here on stop at once.

        Raises:
            Interrupted: a signal came after the last step was over.
        """
        self.training = False
        if self.received is not None:
            raise Interrupted(self.received)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """No step follows in which a signal could be obeyed: from here on stop at once."""
        self.training = False

    def after_steps(self, module: Steps) -> None:
        """Stop here if a signal came.

        Raises:
            Interrupted: after the checkpoints are written.
        """
        if self.received is not None:
            for checkpoints in self.checkpoints:
                if checkpoints.member.live:
                    checkpoints.save(module)
            raise Interrupted(self.received)


class Pace(pl.Callback):
    """Sets the size of the chunks by the time the last one took, and keeps count of the seconds spent on validation."""

    def __init__(self, chunks: Chunks) -> None:
        self.chunks = chunks
        self.validation_s = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Look at the clock."""
        assert isinstance(pl_module, Steps)
        self.before = pl_module.training_s

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at it again."""
        assert isinstance(pl_module, Steps)
        self.chunks.took(batch["n"], pl_module.training_s - self.before)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at the clock."""
        self.since = time.perf_counter()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Look at it again; to be the last of the callbacks."""
        self.validation_s += time.perf_counter() - self.since
