"""What happens around the steps: curves, checkpoints, stopping on a signal."""

import signal
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from torch.utils.tensorboard import SummaryWriter

from disvae.data import Batch
from disvae.module import VAEModule, scalars
from disvae.runs import Run


class Curves(pl.Callback):
    """The terms to TensorBoard: `train/*` every `every` steps, `val/*` at each validation; nats per image."""

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every

    def _write(self, stage: str, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(f"{stage}/{name}", value, step)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the events; points that an interrupted run wrote after its last checkpoint are dropped from view."""
        step = trainer.global_step
        self.writer = SummaryWriter(str(self.folder), purge_step=step or None, flush_secs=10)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Write this step's terms if it is one of every `every`."""
        if trainer.global_step % self.every == 0:
            self._write("train", scalars(outputs), trainer.global_step)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write the validation's scores."""
        assert isinstance(pl_module, VAEModule)
        self._write("val", pl_module.evaluation, trainer.global_step)
        self.writer.flush()

    def close(self) -> None:
        """All points are on disk after this."""
        if hasattr(self, "writer"):
            self.writer.close()


class Checkpoints(pl.Callback):
    """`last.ckpt` every `every` steps and `best.ckpt` at each validation with the best ELBO so far."""

    def __init__(self, run: Run, every: int) -> None:
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

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Save if it is time."""
        if trainer.global_step % self.every == 0:
            self.save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Save the best."""
        assert isinstance(pl_module, VAEModule)
        if trainer.state.fn == "fit" and pl_module.evaluation["elbo"] > self.best_elbo:
            self.best_elbo = pl_module.evaluation["elbo"]
            trainer.save_checkpoint(self.run.best)


class Interrupted(Exception):
    """A signal stopped the run between two steps; its checkpoint is written."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class StopOnSignal(pl.Callback):
    """Ctrl-C and SIGTERM let the step finish, write a checkpoint and stop; a second one stops at once."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received: int | None = None
        self._former: dict[int, Any] = {}

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signum

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals over from Lightning, which would exit with status 0."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            self._former[signum] = signal.signal(signum, self._handle)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        """Stop here if a signal came.

        Raises:
            Interrupted: after the checkpoint is written.
        """
        if self.received is not None:
            self.checkpoints.save(trainer)
            raise Interrupted(self.received)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Give the signals back."""
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self._former.clear()
