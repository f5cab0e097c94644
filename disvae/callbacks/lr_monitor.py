"""Log the learning rate as a curve."""

from typing import Any

import pytorch_lightning as pl

from disvae.runs.tags import logged


class LRMonitor(pl.Callback):
    """Log the learning rate of every parameter group as `while_training/lr/GROUP` each `every` steps."""

    def __init__(self, every: int) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1 step, got {every}")
        self.every = every

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, i: int) -> None:
        """Log the rates of the step to come."""
        step = trainer.global_step + 1
        if step % self.every == 0:
            groups = trainer.optimizers[0].param_groups
            rates = {f"train/lr/{k}": float(group["lr"]) for k, group in enumerate(groups)}
            for logger in trainer.loggers:
                logger.log_metrics(logged(rates), step)
