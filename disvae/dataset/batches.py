"""Batches are gathered by index from images in memory, without worker processes.

The batch of a step depends on (seed, step) only and the order of an epoch on (seed, epoch) only, so a resumed run gets
the batches of an uninterrupted one.
"""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from disvae.dataset import Dataset
from disvae.dataset.samplers import Rows, Sampler

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """The images of one step, on the device that computes; `group` and `varies` come from a sampler, in training only.

    A group is a run of neighbouring images, and all groups of a batch have the same size.
    """

    x: Tensor  # (B, C, H, W) in [0, 1]
    x_extra: Tensor  # (B', C, H, W): further images drawn independently of x; B' is 0 unless the objective needs them
    group: Tensor | None = None  # (B,): the group of each image; None: the images are drawn independently
    varies: Tensor | None = None  # (G,) or (G, K): what varies within each group, as the sampler says it
    h: Tensor | None = None  # (B, ...): the encoder's outputs for x, if they are already computed

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that this batch has, by name, so that `Batch(**batch.tensors())` equals it."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


def split(
    n: int, *, validation: float, held_out: float | None, official: np.ndarray | None, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw disjoint rows for training, validation and held-out scores by `seed`.

    The `official` test rows are held out if the dataset has them, else a share `held_out` of all rows. `validation` is
    a share of the remaining rows, but two rows instead of one, for some terms compare rows. A share of 0 leaves none.

    Raises:
        ValueError: both official rows and `held_out` are given, or neither.
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
    n_validation += n_validation == 1
    parts = rest[n_validation:], rest[:n_validation], kept_out
    train, valid, test = (torch.from_numpy(np.sort(part).astype(np.int64)) for part in parts)
    return train, valid, test


class Batches:
    """The row indices of every batch of a run, read from an endless chain of permutations, one for each epoch.

    A batch may span two epochs. A step has `index` (B,) and, from a second chain, `extra` (extra * B,). If there is a
    function `drawn` of the step, it gives `index` and what a sampler adds to it.
    """

    def __init__(
        self, rows: Tensor, batch_size: int, extra: int, seed: int, drawn: Callable[[int], Rows] | None = None
    ) -> None:
        self.rows = rows
        self.drawn = drawn
        self.sizes = {"index": batch_size, "extra": extra * batch_size}
        self.seed = seed
        self._permutation = lru_cache(maxsize=4)(self._permuted)  # this epoch and the next, in both chains

    def _permuted(self, chain: int, epoch: int) -> Tensor:
        generator = np.random.default_rng([self.seed, 2 + chain, epoch])
        return self.rows[torch.from_numpy(generator.permutation(len(self.rows)))]

    def _stretch(self, chain: int, start: int, stop: int) -> Tensor:
        parts = [self.rows[:0]]
        while start < stop:
            epoch, offset = divmod(start, len(self.rows))
            part = self._permutation(chain, epoch)[offset : offset + stop - start]
            parts.append(part)
            start += len(part)
        return torch.cat(parts)

    def of_steps(self, first: int, n: int) -> Rows:
        """Return the batches of `n` steps from `first` on: `index` (n, B) and `extra` (n, extra * B)."""
        chained = {
            name: self._stretch(chain, first * size, (first + n) * size).view(n, size)
            for chain, (name, size) in enumerate(self.sizes.items())
            if self.drawn is None or name != "index"
        }
        if self.drawn is None:
            return chained
        steps = [self.drawn(step) for step in range(first, first + n)]
        return {**{name: torch.stack([rows[name] for rows in steps]) for name in steps[0]}, **chained}


class Blocks:
    """Blocks of rows, in order, of about the training batch's size, so that minibatch terms have the same bias.

    Each block has `extra` blocks of other rows, namely all rows shifted by half their number.
    """

    def __init__(self, rows: Tensor, size: int, extra: int) -> None:
        self.rows = rows
        self.size = size
        self.extra = extra

    def __len__(self) -> int:
        return max(1, len(self.rows) // self.size)

    def __iter__(self) -> Iterator[Rows]:
        others = self.rows.roll(len(self.rows) // 2).tensor_split(len(self))
        for index, other in zip(self.rows.tensor_split(len(self)), others, strict=True):
            yield {"index": index, "extra": other.repeat(self.extra)}


class Data:
    """A dataset split by seed, whose images are kept on the device that gathers them.

    `extra` is the objective's `extra_batches`, and `sampler` chooses the rows of its steps. Validation and held-out
    scores use a fixed sample of at most `eval_images` rows of their split. Without validation rows, training rows are
    scored. Without held-out rows, none are. Of the training rows, the first `train` are used.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        extra: int,
        seed: int,
        validation: float,
        held_out: float | None,
        eval_images: int,
        train: int | None = None,
        sampler: Sampler | None = None,
    ) -> None:
        self.dataset = dataset
        self.images = dataset.images
        self.device = self.images.data.device
        rows = split(
            len(dataset.images), validation=validation, held_out=held_out, official=dataset.held_out, seed=seed
        )
        self.train_rows = rows[0][:train]
        if len(self.train_rows) < batch_size:
            most = len(self.train_rows)
            raise ValueError(
                f"batch_size must be at most the {most} training images, got {batch_size}: type batch_size={most}"
            )
        self.validation_rows = self.sample(rows[1] if len(rows[1]) else self.train_rows, eval_images, seed)
        self.held_out_rows = self.sample(rows[2], eval_images, seed)
        drawn = None if sampler is None else sampler.of_rows(dataset, self.train_rows, batch_size, seed)
        self.batches = Batches(self.train_rows, batch_size, extra, seed, drawn)

    @staticmethod
    def sample(rows: Tensor, most: int, seed: int) -> Tensor:
        """Draw at most `most` of `rows` by seed."""
        chosen = np.random.default_rng([seed, 4]).permutation(len(rows))[:most]
        return rows[torch.from_numpy(chosen)]

    def blocks(self, rows: Tensor) -> Blocks:
        """Return `rows` in blocks, for the terms of an evaluation."""
        size = self.batches.sizes["index"]
        return Blocks(rows, size, self.batches.sizes["extra"] // size)

    def take(self, rows: Rows, device: torch.device) -> Batch:
        """Gather the images at `rows` on `device`, where the dataset's images are kept from then on if they fit."""
        if self.device != device:
            self.device = device
            if fits(self.images.data, device):
                self.images = self.images.to(device)
            else:
                log.info("The images are larger than the memory of the GPU: batches are gathered in this process")
        here = self.images.data.device
        x, x_extra = (send(self.images.take(send(rows[name], here)), device) for name in ("index", "extra"))
        return Batch(x, x_extra, **{name: send(rows[name], device) for name in ("group", "varies") if name in rows})


def send(values: Tensor, device: torch.device) -> Tensor:
    """Return `values` on `device`; a GPU gets them from pinned memory, for else the program waits until it is idle."""
    to_gpu = device.type == "cuda" and values.device.type == "cpu"
    return (values.pin_memory() if to_gpu else values).to(device, non_blocking=True)


def fits(images: Tensor, device: torch.device) -> bool:
    """Return whether images take less than 80 % of the free memory of a GPU; they fit any other device."""
    return device.type != "cuda" or images.nbytes < 0.8 * torch.cuda.mem_get_info(device)[0]
