"""Factors of variation as class indices, from the values in a file, and continuous factors, which have no classes."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np


class Factors(NamedTuple):
    """The factors (N, K) that vary: class indices, or float64 values if one of them is continuous, which has size 0."""

    classes: np.ndarray
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({})  # by factor, for factors that have them

    def arrays(self, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
        """Return the factors of images of `shape` (N, C, H, W) as arrays for the cache, beside the pixels."""
        called = [(k, self.class_names[name]) for k, name in enumerate(self.names) if name in self.class_names]
        return {f"classes{k}": np.array(names) for k, names in called} | {
            "shape": np.array(shape),
            "factors": self.classes,
            "factor_names": np.array(self.names, dtype=str),
            "factor_sizes": np.array(self.sizes, dtype=np.int64),
        }


def class_indices(values: np.ndarray, names: Sequence[str]) -> Factors:
    """Return each column of `values` (N, K) as ranks of its distinct values, without constant columns."""
    ranked = [np.unique(column, return_inverse=True) for column in values.T]
    varying = [k for k, (distinct, _) in enumerate(ranked) if len(distinct) > 1]
    classes = np.stack([ranked[k][1] for k in varying], axis=1) if varying else np.empty((len(values), 0), np.int64)
    return Factors(classes, tuple(names[k] for k in varying), tuple(len(ranked[k][0]) for k in varying))


def own_factors(values: np.ndarray, names: Sequence[str], class_names: Sequence[str] = ()) -> Factors:
    """Return the columns of `values` (N, K) that vary; a column with numbers that are not whole is continuous.

    The classes of a column of strings are named by the strings. `class_names` are the names of the classes 0, 1, ... of
    the only column.

    Raises:
        ValueError: names do not fit the columns, or a value is neither a number nor a string.
    """
    if len(names) != values.shape[1] or len(set(names)) < len(names):
        raise ValueError(f"factor_names must be {values.shape[1]} different names, got {', '.join(names) or 'none'}")
    if values.dtype.kind not in "biufUS":
        raise ValueError(f"labels and factors must be numbers or strings, got {values.dtype}")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    columns: list[np.ndarray] = []
    found: dict[str, int] = {}
    called = {}
    for name, column in zip(names, values.T, strict=True):
        if column.dtype.kind == "f" and not (finite := np.isfinite(column)).all():
            row = int(np.argmin(finite))
            raise ValueError(f"factor {name} must be finite, got {column[row]} in row {row}: leave such images out")
        distinct, ranks = np.unique(column, return_inverse=True)
        if len(distinct) < 2:
            continue
        continuous = is_continuous(distinct)
        columns.append(column if continuous else ranks)
        found[name] = 0 if continuous else len(distinct)
        if column.dtype.kind == "U":
            called[name] = tuple(distinct.tolist())
        elif class_names:
            if values.shape[1] > 1 or continuous or distinct[0] < 0 or distinct[-1] >= len(class_names):
                raise ValueError(
                    f"class_names must name the classes 0, 1, ... of one label, got {len(class_names)} names "
                    f"for {', '.join(names)} from {distinct[0]} to {distinct[-1]}"
                )
            called[name] = tuple(str(class_names[int(value)]) for value in distinct)
    varying = np.stack(columns, axis=1) if columns else np.empty((len(values), 0), np.int64)
    return Factors(varying, tuple(found), tuple(found.values()), called)


def is_continuous(column: np.ndarray) -> bool:
    """Return whether the values (N,) of a factor are numbers that are not whole."""
    return column.dtype.kind == "f" and bool((column != np.round(column)).any())


def binned(factors: np.ndarray, bins: int) -> np.ndarray:
    """Return factors (N, K) with each continuous column as classes of about equally many rows, at most `bins`.

    Equal values get one class, so a column with at most `bins` distinct values keeps them apart.

    Raises:
        ValueError: a value of a continuous column is not finite.
    """
    if not any(map(is_continuous, factors.T)):
        return factors
    columns = []
    for column in factors.T:
        if is_continuous(column):
            if not (finite := np.isfinite(column)).all():
                row = int(np.argmin(finite))
                raise ValueError(f"factors must be finite, got {column[row]} in row {row}: leave such rows out")
            distinct, ranks = np.unique(column, return_inverse=True)
            if len(distinct) > bins:
                inner = np.quantile(column, np.arange(1, bins) / bins)
                ranks = np.unique(np.searchsorted(inner, column, side="right"), return_inverse=True)[1]
            column = ranks
        columns.append(column)
    return np.stack(columns, axis=1).astype(np.int64)
