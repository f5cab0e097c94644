"""Scores of codes that are given as arrays, from a file or a Python program."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from disvae.config import ConfigError
from disvae.encoding import Encoding
from disvae.evaluation.compute import Result, compute_scores, in_classes
from disvae.evaluation.run_encodings import with_controls
from disvae.evaluation.run_scores import Chosen
from disvae.statistics.checked_codes import checked


def given_encoding(arrays: Mapping[str, np.ndarray], where: str, bins: int | None) -> Encoding:
    """Return the encoding of arrays `codes` and, optionally, `factors`, `factor_names` and `population`, checked.

    `bins` is the number of classes of a continuous factor, or None if there may be none.

    Raises:
        ConfigError: the arrays do not fit together; the message begins with `where` they come from.
    """
    if "codes" not in arrays:
        raise ConfigError(f"{where} must hold an array `codes` (N, D), got {', '.join(arrays) or 'nothing'}")
    try:
        codes, _, _ = checked(arrays["codes"], None, (), 0, 1)
        factors = arrays.get("factors", np.empty((len(codes), 0), np.int64))
        factors = factors[:, None] if factors.ndim == 1 else factors
        given = arrays.get("factor_names")
        if given is not None and given.shape != factors.shape[1:]:
            raise ValueError(f"factor_names must be {factors.shape[1]} names, got an array of shape {given.shape}")
        classes = factors
        if bins is not None and factors.ndim == 2:
            classes = in_classes(Encoding(codes, factors, ()), bins).factors
        _, _, names = checked(codes, classes, [] if given is None else [str(name) for name in given], 0, 1)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    population = arrays.get("population", np.array(0))
    if population.ndim or population.dtype.kind not in "iu" or 0 < population < len(codes):
        raise ConfigError(f"{where}: population must be a whole number of at least {len(codes)}, got {population}")
    for control in [name for name in arrays if name.startswith("controls/")]:
        if arrays[control].ndim != 2 or len(arrays[control]) != len(codes):
            raise ConfigError(f"{where}: {control} must be ({len(codes)}, D), got {arrays[control].shape}")
    return Encoding(codes, factors, tuple(names), int(population) or None)


def score_given(
    encoding: Encoding, arrays: Mapping[str, np.ndarray], chosen: Chosen, settings: Mapping[str, Any]
) -> dict[str, Result]:
    """Return the results of metrics by label; the baselines are the arrays `controls/NAME`, and random rotations."""
    return compute_scores(
        chosen.metrics,
        with_controls(encoding, arrays, settings),
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
        bins=settings["bins"],
        factors=settings["factors"],
    )
