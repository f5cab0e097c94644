"""What happens around the steps: curves, checkpoints, stopping on a signal."""

import logging
import signal
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from disvae.data import Batch
from disvae.encoding import encoding_of
from disvae.evaluation import Chosen
from disvae.interrupt import Interrupted
from disvae.module import VAEModule, scalars
from disvae.runs import Run
from disvae.scoring import MODEL, score
from disvae.summary import begin

log = logging.getLogger(__name__)


class Curves(pl.Callback):
    """The terms to TensorBoard: `train/*` every `log_every` steps, `val/*` at each validation; nats per image."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config = config
        self.every = config["log_every"]

    def write(self, stage: str, values: Mapping[str, float], step: int) -> None:
        """Points at `step` under `STAGE/NAME`."""
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the events."""
        self.open(trainer.global_step)

    def open(self, step: int) -> None:
        """Be ready to write after a checkpoint of `step`; points that came after it are dropped from view."""
        if not hasattr(self, "writer"):
            self.writer = SummaryWriter(str(self.folder), purge_step=step + 1, flush_secs=10)
            begin(self.writer, self.config)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write this step's terms if it is one of every `log_every`."""
        if trainer.global_step % self.every == 0:
            self.write("train", scalars(outputs), trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the validation's scores."""
        assert isinstance(pl_module, VAEModule)
        self.open(trainer.global_step)
        self.write("val", pl_module.evaluation, trainer.global_step)
        self.writer.flush()

    def close(self) -> None:
        """All points are on disk after this."""
        if hasattr(self, "writer"):
            self.writer.close()


class Scores(pl.Callback):
    """Metrics of the validation's encoding as `metric/*`; those of the last step come from elsewhere."""

    def __init__(self, curves: Curves, chosen: Chosen, steps: int, seed: int) -> None:
        self.curves = curves
        self.chosen = chosen
        self.steps = steps
        self.seed = seed
        self.said: set[str] = set()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Compute and write; a metric that fails says so once."""
        if not self.chosen.metrics or trainer.state.fn != "fit" or trainer.global_step == self.steps:
            return
        assert isinstance(pl_module, VAEModule)
        data = trainer.datamodule  # type: ignore[attr-defined]
        encoding = encoding_of(pl_module.vae, pl_module.encodings, data.dataset, data.validation_rows)
        sources = {MODEL: [encoding]}
        results = score(self.chosen.metrics, sources, repeats=0, seed=self.seed, named=self.chosen.named)
        for label, result in results.items():
            values = {f"{label}/{name}": scores[MODEL].value for name, scores in result.scores.items()}
            self.curves.write("metric", values, trainer.global_step)
            for reason in result.failed.values():
                if label not in self.said:
                    log.warning("metric %s is not to be had: %s", label, reason)
                self.said.add(label)


class AfterStep(pl.Callback):
    """Does something when a step is over and, if the step is followed by a validation, that too."""

    def __init__(self, eval_every: int) -> None:
        self.eval_every = eval_every

    @abstractmethod
    def after_step(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Called once a step; a checkpoint written here holds all that the step brought about."""

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """The step is over unless it is to be validated."""
        assert isinstance(pl_module, VAEModule)
        if trainer.global_step % self.eval_every:
            self.after_step(trainer, pl_module)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The step is over."""
        assert isinstance(pl_module, VAEModule)
        if trainer.state.fn == "fit":
            self.after_step(trainer, pl_module)


class Checkpoints(AfterStep):
    """`last.ckpt` every `every` steps and `best.ckpt` at each validation with the best ELBO so far."""

    def __init__(self, run: Run, every: int, eval_every: int) -> None:
        super().__init__(eval_every)
        self.run = run
        self.every = every
        self.best_elbo = float("-inf")

    def state_dict(self) -> dict[str, float]:
        """The best ELBO so far, nats per image."""
        return {"best_elbo": self.best_elbo}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.best_elbo = state_dict["best_elbo"]

    def save(self, trainer: pl.Trainer) -> None:
        """Write last.ckpt and note its step."""
        trainer.save_checkpoint(self.run.last)
        self.run.mark("running", trainer.global_step)

    def after_step(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Save the best, and the last if it is time."""
        if module.evaluated_at == trainer.global_step and module.evaluation["elbo"] > self.best_elbo:
            self.best_elbo = module.evaluation["elbo"]
            trainer.save_checkpoint(self.run.best)
        if trainer.global_step % self.every == 0:
            self.save(trainer)


class StopOnSignal(AfterStep):
    """Ctrl-C and SIGTERM let the step finish, write a checkpoint and stop; a second one, or one outside training, stops
    at once. A context manager about a whole run.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__(checkpoints.eval_every)
        self.checkpoints = checkpoints
        self.training = False
        self.received: int | None = None
        self._former: dict[int, Any] = {}

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
        self.training = True
        self._take()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """The last checkpoint is about to be written, or there: from here on stop at once."""
        self.training = False

    def after_step(self, trainer: pl.Trainer, module: VAEModule) -> None:
        """Stop here if a signal came.

        Raises:
            Interrupted: after the checkpoint is written.
        """
        if self.received is not None:
            self.checkpoints.save(trainer)
            raise Interrupted(self.received)
