"""Votes cast on rows that share one factor's value: (k, v) fixed, rows i with factors[i, k] = v drawn uniformly.

Higgins et al. 2017 and Kim & Mnih 2018 fix a factor and let a generative process draw the rest. Here the images are
given, a whole grid or any sample of it, which differs in four ways: a value is fixed as often as rows hold it; the
other factors take the values, and keep the dependences, that they have among those rows; a value held by n rows has
only these n to offer, so that a variance within it is (n - 1) / n of the process's on average; and values held by a
single row are left out.
"""

from collections.abc import Callable, Sequence

import numpy as np


class SameValue:
    """`rows`, sorted by their `values` of one factor, to draw some of equal value.

    Raises:
        ValueError: no value is held by two rows.
    """

    def __init__(self, rows: np.ndarray, values: np.ndarray, name: str) -> None:
        size = np.bincount(values)[values]
        held = np.flatnonzero(size > 1)
        if len(held) == 0:
            raise ValueError(
                f"factor {name} must take a value in two rows at least, got {len(rows)} different values in a half of "
                "the rows: give more rows, or leave the factor out"
            )
        order = held[np.argsort(values[held], kind="stable")]
        self._rows = rows[order]
        self._first = np.searchsorted(values[order], values[order])  # where the row's value begins
        self._size = size[order]

    def draw(self, votes: int, L: int, rng: np.random.Generator) -> np.ndarray:
        """(L, votes) rows: for each vote a row chosen uniformly, then L of its value, with replacement."""
        chosen = rng.integers(len(self._rows), size=votes)
        # A uniform number times the size: several times faster than integers below an array of sizes.
        offset = (rng.random((L, votes)) * self._size[chosen]).astype(np.int64)
        drawn: np.ndarray = self._rows[self._first[chosen] + offset]
        return drawn

    def pairs(self, votes: int, L: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Twice (L, votes) rows: each row chosen uniformly, and another one of its value."""
        chosen = rng.integers(len(self._rows), size=(L, votes))
        first, size = self._first[chosen], self._size[chosen]
        step = 1 + (rng.random((L, votes)) * (size - 1)).astype(np.int64)  # 1 to size - 1: never back to itself
        other = chosen + step
        other -= np.where(other < first + size, 0, size)
        return self._rows[chosen], self._rows[other]


def halves(N: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and rows to be judged on: what the first have by chance says nothing of the second."""
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
    """What `vote(same, n)` (n, ...) says of each vote, asked for at most `block` at a time, and the factors fixed.

    Each factor is fixed equally often, which the papers have on average only.
    """
    fixed = np.sort(np.arange(votes) % len(names))
    said = []
    for k, n in enumerate(np.bincount(fixed)):
        same = SameValue(rows, factors[rows, k], names[k])
        said += [vote(same, min(block, n - start)) for start in range(0, n, block)]
    return np.concatenate(said), fixed
