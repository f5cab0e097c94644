"""Images in memory, batches by index: no worker pool, no per-item Python.

The batch of a step is a function of (seed, step) and the order of an epoch one of (seed, epoch), so a resumed run sees
what the uninterrupted one would have.
"""

from collections.abc import Iterator

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from disvae.dataset import Dataset

Batch = dict[str, Tensor]


def split(
    n: int, *, validation: float, held_out: float | None, official: np.ndarray | None, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows for training, validation and held-out, disjoint and drawn by seed.

    `official` rows are held out as they are; without them a share `held_out` of all rows is. A share of 0 leaves no
    rows for that purpose.

    Raises:
        ValueError: official rows and a share, or neither; a validation split of one row.
    """
    if (held_out is None) == (official is None):
        must = "a share of the images" if official is None else "null: the dataset has official test images"
        raise ValueError(f"split.held_out must be {must}, got {'null' if held_out is None else held_out}")
    order = np.random.default_rng([seed, 1]).permutation(n)
    if held_out is not None:
        n_held_out = round(held_out * n)
        kept_out, rest = order[:n_held_out], order[n_held_out:]
    else:
        assert official is not None
        kept_out, rest = official, order[~np.isin(order, official)]
    n_validation = round(validation * len(rest))
    if n_validation == 1:
        raise ValueError(f"split.validation must leave 0 or at least 2 of {n} images, got {validation}, which leaves 1")
    parts = rest[n_validation:], rest[:n_validation], kept_out
    train, valid, test = (torch.from_numpy(np.sort(part).astype(np.int64)) for part in parts)
    return train, valid, test


class Batches:
    """Index batches of a whole run: `steps` batches from an endless chain of permutations, one an epoch.

    Yields `index` (B,) and `extra` (extra * B,), the latter from a chain of its own. Lightning saves and restores the
    position through `state_dict`.
    """

    def __init__(self, rows: Tensor, batch_size: int, extra: int, steps: int, seed: int) -> None:
        self.rows = rows
        self.sizes = {"index": batch_size, "extra": extra * batch_size}
        self.steps = steps
        self.seed = seed
        self.step = 0

    def __len__(self) -> int:
        return self.steps

    def _permutation(self, chain: int, epoch: int) -> Tensor:
        generator = np.random.default_rng([self.seed, 2 + chain, epoch])
        return self.rows[torch.from_numpy(generator.permutation(len(self.rows)))]

    def _chain(self, chain: int, size: int, step: int) -> Iterator[Tensor]:
        epoch, offset = divmod(step * size, len(self.rows))
        order = self._permutation(chain, epoch)[offset:]
        while True:
            while len(order) < size:  # the batch goes on in the next epoch, so every batch is full
                epoch += 1
                order = torch.cat([order, self._permutation(chain, epoch)])
            yield order[:size]
            order = order[size:]

    def __iter__(self) -> Iterator[Batch]:
        chains = {name: self._chain(i, size, self.step) for i, (name, size) in enumerate(self.sizes.items())}
        while self.step < self.steps:
            self.step += 1
            yield {name: next(chain) for name, chain in chains.items()}

    def state_dict(self) -> dict[str, int]:
        """Batches given out so far."""
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on after `step` batches."""
        self.step = state["step"]


class Blocks:
    """Rows in order, in blocks of nearly the training batch's size, so that minibatch terms are biased alike.

    `extra` blocks of other rows, shifted by half of all, go with each.
    """

    def __init__(self, rows: Tensor, size: int, extra: int) -> None:
        self.rows = rows
        self.size = size
        self.extra = extra

    def __len__(self) -> int:
        return max(1, len(self.rows) // self.size)

    def __iter__(self) -> Iterator[Batch]:
        others = self.rows.roll(len(self.rows) // 2).tensor_split(len(self))
        for index, other in zip(self.rows.tensor_split(len(self)), others, strict=True):
            yield {"index": index, "extra": other.repeat(self.extra)}


class Data(pl.LightningDataModule):
    """Any dataset, split by seed; images move to the device once and are gathered there.

    `extra` is the objective's `extra_batches`. Validation and held-out scores use a fixed sample of at most
    `eval_images` rows of their split. Without validation rows training rows are scored; without held-out rows none are.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        extra: int,
        steps: int,
        seed: int,
        validation: float,
        held_out: float | None,
        eval_images: int,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.images = dataset.images
        rows = split(
            len(dataset.images), validation=validation, held_out=held_out, official=dataset.held_out, seed=seed
        )
        self.train_rows = rows[0]
        if len(self.train_rows) < batch_size:
            raise ValueError(f"batch_size must be at most the {len(self.train_rows)} training images, got {batch_size}")
        self.validation_rows = self.sample(rows[1] if len(rows[1]) else rows[0], eval_images, seed)
        self.held_out_rows = self.sample(rows[2], eval_images, seed)
        self.batches = Batches(self.train_rows, batch_size, extra, steps, seed)
        self.extra = extra

    @staticmethod
    def sample(rows: Tensor, most: int, seed: int) -> Tensor:
        """At most `most` of `rows`, drawn by seed."""
        chosen = np.random.default_rng([seed, 4]).permutation(len(rows))[:most]
        return rows[torch.from_numpy(chosen)]

    def train_dataloader(self) -> Batches:
        """Index batches of the whole run."""
        return self.batches

    def val_dataloader(self) -> Blocks:
        """The fixed validation sample."""
        return Blocks(self.validation_rows, self.batches.sizes["index"], self.extra)

    def test_dataloader(self) -> Blocks:
        """The fixed held-out sample."""
        return Blocks(self.held_out_rows, self.batches.sizes["index"], self.extra)

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Indices to images: `x` (B, C, H, W) and `x_extra` (B', C, H, W)."""
        device = batch["index"].device
        if self.images.data.device != device:
            self.images = self.images.to(device)
        return {"x": self.images.take(batch["index"]), "x_extra": self.images.take(batch["extra"])}
