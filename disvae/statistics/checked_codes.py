"""Checks of the codes and factors that a metric is given."""

from collections.abc import Sequence

import numpy as np

LARGEST_CODE = 1e30
"""The largest code allowed: squares of codes and sums of these stay finite."""


def checked(
    codes: np.ndarray, factors: np.ndarray | None, names: Sequence[str], least_factors: int, least_samples: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return codes (N, D) as float64, factors (N, K) as class indices from 0, and a name for each factor.

    Raises:
        ValueError: codes or factors are not of the right kind; the message says what is needed and what was given.
    """
    codes = np.asarray(codes)
    if codes.ndim != 2 or codes.shape[1] == 0:
        raise ValueError(f"codes must be (N, D), one row per sample, got {codes.shape}")
    if not (np.issubdtype(codes.dtype, np.floating) or np.issubdtype(codes.dtype, np.integer)):
        raise ValueError(f"codes must be real numbers, got {codes.dtype}")
    if len(codes) < least_samples:
        raise ValueError(
            f"at least {least_samples} samples are needed, got {len(codes)}: score more (split.validation=0.3 in a run)"
        )
    bad = np.argwhere(~(np.abs(codes) <= LARGEST_CODE))
    if len(bad):
        row, latent = bad[0]
        raise ValueError(
            f"codes must be finite and at most {LARGEST_CODE:g}, got {codes[row, latent]} in row {row}, latent {latent}"
        )
    factors = np.empty((len(codes), 0), np.int64) if factors is None else np.asarray(factors)
    if factors.ndim == 1:
        factors = factors[:, None]
    if factors.ndim != 2 or len(factors) != len(codes):
        raise ValueError(f"factors must be ({len(codes)}, K), one row per code, got {factors.shape}")
    if factors.shape[1] < least_factors:
        raise ValueError(f"at least {least_factors} factors are needed, got {factors.shape[1]}")
    if len(names) not in (0, factors.shape[1]):
        raise ValueError(f"names must be {factors.shape[1]}, one per factor, got {', '.join(names)}")
    names = list(names) or [str(k) for k in range(factors.shape[1])]
    if len(set(names)) < len(names):
        raise ValueError(f"factors must have different names, got {', '.join(names)}")
    if factors.dtype == bool:
        factors = factors.astype(np.int64)
    indices = np.empty(factors.shape, np.int64)
    for k, name in enumerate(names):
        if factors.dtype.kind not in "biufUS":
            raise ValueError(f"factor {name} must hold class indices, got {factors[0, k]!r}: number its classes")
        is_number = factors.dtype.kind not in "US"
        wrong = np.flatnonzero(is_number and ~(np.isfinite(factors[:, k]) & (factors[:, k] == np.round(factors[:, k]))))
        if len(wrong):
            got = factors[wrong[0], k]
            todo = "type score.bins=20 to score it in 20 classes" if np.isfinite(got) else "leave such rows out"
            raise ValueError(f"factor {name} must hold class indices, got {got} in row {wrong[0]}: {todo}")
        values, indices[:, k] = np.unique(factors[:, k], return_inverse=True)
        if least_factors and len(values) < 2:
            raise ValueError(f"factor {name} must take at least 2 values, got only {values[0]}")
    return codes.astype(np.float64), indices, names
