"""Fixed-factor votes: (k, v) is fixed, and rows i with factors[i, k] = v are drawn uniformly.

Higgins et al. 2017 and Kim & Mnih 2018 fix a factor and let a generative process draw the rest. Here the images are
given, a whole grid or a sample of it. This differs in four ways. A value is fixed as often as rows have it. The other
factors keep the values and the dependences that they have among those rows. A value of n rows has only these n to draw
from, so a variance within it is on average (n - 1) / n of the process's. Values of a single row are left out.
"""

from collections.abc import Callable, Sequence

import numpy as np


class SameValue:
    """A sampler of rows that share their value of one factor.

    Raises:
        ValueError: no value occurs in two rows.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray, name: str) -> None:
        size = np.bincount(values)[values]
        held = np.flatnonzero(size > 1)
        if len(held) == 0:
            raise ValueError(
                f"factor {name} must have a value that occurs in two rows, got {len(rows)} different values in half of "
                "the rows: give more rows, or leave the factor out"
            )
        order = held[np.argsort(values[held], kind="stable")]
        self._rows = rows[order]
        self._first = np.searchsorted(values[order], values[order])  # where the rows of this row's value begin
        self._size = size[order]

    def draw(self, votes: int, L: int, rng: np.random.Generator) -> np.ndarray:
        """Draw (L, votes) rows: for each vote a row chosen uniformly, then L rows of its value, with replacement."""
        chosen = rng.integers(len(self._rows), size=votes)
        # A uniform number times the size: several times faster than integers below an array of sizes.
        offset = (rng.random((L, votes)) * self._size[chosen]).astype(np.int64)
        drawn: np.ndarray = self._rows[self._first[chosen] + offset]
        return drawn

    def pairs(self, votes: int, L: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw two arrays of (L, votes) rows: each row is chosen uniformly, its partner is another row of its value."""
        chosen = rng.integers(len(self._rows), size=(L, votes))
        first, size = self._first[chosen], self._size[chosen]
        step = 1 + (rng.random((L, votes)) * (size - 1)).astype(np.int64)  # 1 to size - 1: never back to itself
        other = chosen + step
        other -= np.where(other < first + size, 0, size)
        return self._rows[chosen], self._rows[other]


def halves(N: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return two random halves of N rows, one to learn from and one to be judged on.

    What the first half knows by chance says nothing about the second.
    """
    rows = rng.permutation(N)
    return rows[: N // 2], rows[N // 2 :]


def cast(
    vote: Callable[[SameValue, int], np.ndarray],
    factors: np.ndarray,
    names: Sequence[str],
    rows: np.ndarray,
    votes: int,
    block: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the results (n, ...) of calls `vote(same, n)`, at most `block` votes each, and the fixed factors (n,).

    Each factor is fixed equally often; in the papers this holds on average only.
    """
    fixed = np.sort(np.arange(votes) % len(names))
    said = []
    for k, n in enumerate(np.bincount(fixed)):
        same = SameValue(rows, factors[rows, k], names[k])
        said += [vote(same, min(block, n - start)) for start in range(0, n, block)]
    return np.concatenate(said), fixed
