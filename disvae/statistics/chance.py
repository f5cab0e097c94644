"""Chance levels by simulation: the metric's own score of standard normal codes, which ignore the factors."""

from collections.abc import Callable, Sequence

import numpy as np

ScoreFunction = Callable[[np.ndarray, np.ndarray, Sequence[str], int], dict[str, float]]


def simulated(score: ScoreFunction, codes: np.ndarray, factors: np.ndarray, rows: int) -> dict[str, float]:
    """Return the mean undetailed scores of seeded random codes of the shape of `codes`, whose values are not read.

    1 to 20 codes are drawn, as many as have `rows` rows in all, so that the cost does not grow with N.
    """
    names = [str(k) for k in range(factors.shape[1])]
    runs = []
    for seed in range(max(1, min(20, rows // len(codes)))):
        # The metric makes its own generator of the seed: these numbers must not be the ones that it splits rows by.
        noise = np.random.default_rng((seed, 1)).standard_normal(codes.shape)
        runs.append(score(noise, factors, names, seed))
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0] if "/" not in name}
