"""Factors of variation as class indices, from the values in a file."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Factors(NamedTuple):
    """Class indices (N, K) of the factors that vary, with names and numbers of classes."""

    classes: np.ndarray
    names: tuple[str, ...]
    sizes: tuple[int, ...]


def class_indices(values: np.ndarray, names: Sequence[str]) -> Factors:
    """Return each column of `values` (N, K) as ranks of its distinct values, without constant columns."""
    ranked = [np.unique(column, return_inverse=True) for column in values.T]
    varying = [k for k, (distinct, _) in enumerate(ranked) if len(distinct) > 1]
    classes = np.stack([ranked[k][1] for k in varying], axis=1) if varying else np.empty((len(values), 0), np.int64)
    return Factors(classes, tuple(names[k] for k in varying), tuple(len(ranked[k][0]) for k in varying))
