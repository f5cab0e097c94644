"""Samplers: which rows form a batch, chosen by their factors of variation, as a pure function of (seed, step).

A batch is made of groups of equal size, and the images of a group are neighbours. All shapes are the same at every
step, and all rows are training rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from disvae.dataset import Dataset

Rows = dict[str, Tensor]
"""Row indices of images: `index` (B,) for a batch and `extra` (B',) for its further images; a sampler adds to them."""

TRIES = 16
"""How often the factors of a pair's second image are drawn anew until a training image has them."""


class Sampler(ABC):
    """What chooses the rows of a step; it is a setting of an objective, so it compares by value."""

    @abstractmethod
    def of_rows(self, dataset: Dataset, rows: Tensor, batch_size: int, seed: int) -> Callable[[int], Rows]:
        """Return the function of a step that gives its `index` (B,), `group` (B,) and `varies`, from training `rows`.

        Raises:
            ValueError: the batch cannot be divided into groups; the message says what to type.
        """


class Lookup:
    """Training rows by the values of their factors, of which some may be left out.

    The key of a row is its mixed-radix number. The rows that share a key are neighbours after a sort.
    """

    def __init__(self, factors: np.ndarray, sizes: Sequence[int], left_out: Sequence[int] = ()) -> None:
        radix = np.array([1 if k in left_out else size for k, size in enumerate(sizes)], dtype=np.int64)
        place = np.cumprod(radix[::-1])[::-1] // radix
        self.place = np.where(radix == 1, 0, place)
        keys = self.keys(factors)
        self.order = np.argsort(keys, kind="stable")
        self.sorted = keys[self.order]

    def keys(self, factors: np.ndarray) -> np.ndarray:
        """Return the keys (...) of factors (..., K)."""
        keys: np.ndarray = factors @ self.place
        return keys

    def draw(self, factors: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return a row (...) for each of `factors` (..., K), chosen by `u` in [0, 1), and whether there is one."""
        keys = self.keys(factors)
        first = np.searchsorted(self.sorted, keys, "left")
        found = np.searchsorted(self.sorted, keys, "right") - first
        at = np.minimum(first + (u * found).astype(np.int64), len(self.order) - 1)
        return self.order[at], found > 0


def _noise(seed: int, step: int) -> np.random.Generator:
    return np.random.default_rng([seed, 5, step])  # 1 to 4 are the splits, the chains of rows and the samples of them


def _groups(index: np.ndarray, rows: Tensor, varies: np.ndarray) -> Rows:
    """Return the rows of a step from positions `index` (G, n) in the training rows."""
    G, n = index.shape
    return {
        "index": rows[torch.from_numpy(index.reshape(-1))],
        "group": torch.arange(G).repeat_interleave(n),
        "varies": torch.from_numpy(varies),
    }


@dataclass(frozen=True)
class OneFactor(Sampler):
    """Groups of images that share all factors but one; `varies` (G,) is the number of that factor's slot.

    A slot is a tuple of factors that vary together, usually one; without `slots` each factor is one. Each group takes a
    random training image and a slot, all equally often, and then images drawn with replacement from the training images
    that differ from it in this slot alone.
    """

    groups: int
    slots: tuple[tuple[int, ...], ...] | None = None

    def of_rows(self, dataset: Dataset, rows: Tensor, batch_size: int, seed: int) -> Callable[[int], Rows]:
        """Return the rows of a step: `varies` (G,) holds numbers of slots."""
        if self.groups < 1 or batch_size % self.groups or batch_size < 2 * self.groups:
            size = max(2, round(batch_size / max(1, self.groups))) * max(1, self.groups)
            raise ValueError(
                f"batch_size must be 2 or more times objective.groups={self.groups}, got {batch_size}: "
                f"type batch_size={size}"
            )
        factors, sizes = dataset.factors[rows.numpy()], dataset.factor_sizes
        slots = [(k,) for k in range(len(sizes))] if self.slots is None else self.slots
        lookups = [Lookup(factors, sizes, slot) for slot in slots]

        def of_step(step: int) -> Rows:
            noise = _noise(seed, step)
            varies = noise.integers(len(lookups), size=self.groups)
            base = factors[noise.integers(len(rows), size=self.groups)]
            u = noise.random((self.groups, batch_size // self.groups))
            index = [lookups[k].draw(base[g], u[g])[0] for g, k in enumerate(varies.tolist())]
            return _groups(np.stack(index), rows, varies)

        return of_step


@dataclass(frozen=True)
class Pairs(Sampler):
    """Pairs of images of which the second has some factors of the first drawn anew, whose values may repeat.

    k=1 draws one factor anew; k="random" draws, equally often, one or a number from 1 to K - 1 of them, as Locatello
    et al. 2020 do. `varies` (B/2, K) is true for the factors drawn anew. If no training image has the new values, they
    are drawn again, and after 16 times the second image is the first.
    """

    k: int | Literal["random"]

    def of_rows(self, dataset: Dataset, rows: Tensor, batch_size: int, seed: int) -> Callable[[int], Rows]:
        """Return the rows of a step: `varies` (B/2, K) is true where a factor was drawn anew."""
        factors, sizes = dataset.factors[rows.numpy()], np.array(dataset.factor_sizes)
        K, n = len(sizes), batch_size // 2
        if batch_size % 2:
            raise ValueError(f"batch_size must be even for pairs, got {batch_size}: type batch_size={batch_size + 1}")
        if self.k != "random" and not 1 <= self.k <= K:
            raise ValueError(
                f"k must be random or from 1 to the {K} factors of the dataset, got {self.k}: type objective.k=1"
            )
        lookup = Lookup(factors, dataset.factor_sizes)

        def of_step(step: int) -> Rows:
            noise = _noise(seed, step)
            first = noise.integers(len(rows), size=n)
            most = noise.integers(1, K, size=n) if self.k == "random" else np.full(n, self.k)
            many = np.where(noise.random(n) < 0.5, 1, most) if self.k == "random" else most
            varies = noise.random((n, K)).argsort(1) < many[:, None]
            anew = (noise.random((TRIES, n, K)) * sizes).astype(np.int64)
            drawn, found = lookup.draw(np.where(varies, anew, factors[first]), noise.random((TRIES, n)))
            second = np.where(found.any(0), drawn[found.argmax(0), np.arange(n)], first)
            return _groups(np.stack([first, second], 1), rows, varies)

        return of_step
