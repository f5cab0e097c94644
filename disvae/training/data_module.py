"""The LightningDataModule: rows of each step in order, gathered into images on the device."""

from collections.abc import Iterator

import pytorch_lightning as pl
import torch

from disvae.dataset.batches import Batch, Batches, Blocks, Data
from disvae.dataset.samplers import Rows


class StepRows:
    """Iterate over the rows of the steps from `first` to before `last`; each is a function of (seed, step)."""

    BLOCK = 64
    """Steps whose rows are drawn at once."""

    def __init__(self, batches: Batches, first: int, last: int) -> None:
        self.batches = batches
        self.first = first
        self.last = last

    def __iter__(self) -> Iterator[Rows]:
        for start in range(self.first, self.last, self.BLOCK):
            n = min(self.BLOCK, self.last - start)
            block = self.batches.of_steps(start, n)
            for i in range(n):
                yield {name: rows[i] for name, rows in block.items()}


class DataModule(pl.LightningDataModule):
    """Batches of one run. Training begins at the trainer's step, so a resumed run sees what it would have seen."""

    def __init__(self, data: Data, steps: int) -> None:
        super().__init__()
        self.data = data
        self.steps = steps

    def train_dataloader(self) -> StepRows:
        """Return the rows of the steps that are left."""
        assert self.trainer is not None
        return StepRows(self.data.batches, self.trainer.global_step, self.steps)

    def val_dataloader(self) -> Blocks:
        """Return the validation sample in blocks of about the training batch's size."""
        return self.data.blocks(self.data.validation_rows)

    def test_dataloader(self) -> Blocks:
        """Return the held-out sample in blocks of about the training batch's size."""
        return self.data.blocks(self.data.held_out_rows)

    def transfer_batch_to_device(self, batch: Rows, device: torch.device, dataloader_idx: int) -> Batch:
        """Gather the images on the device, which is cheaper than to send them there."""
        return self.data.take(batch, device)
