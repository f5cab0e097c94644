"""Chance levels that have no closed form: the metric itself, on standard normal codes that ignore the factors."""

from collections.abc import Callable, Sequence

import numpy as np

Score = Callable[[np.ndarray, np.ndarray, Sequence[str], int], dict[str, float]]


def simulated(score: Score, codes: np.ndarray, factors: np.ndarray, draws: int) -> dict[str, float]:
    """Means of the undetailed scores of `draws` seeded codes of the shape of `codes`, whose values are not read."""
    names = [str(k) for k in range(factors.shape[1])]
    runs = []
    for seed in range(draws):
        # The metric makes its own generator of the seed: these numbers must not be the ones that it splits rows by.
        noise = np.random.default_rng((seed, 1)).standard_normal(codes.shape)
        runs.append(score(noise, factors, names, seed))
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0] if "/" not in name}


def draws(N: int, rows: int, least: int) -> int:
    """As many codes of N rows as have `rows` in all, for a cost that does not grow with N; from `least` to 20."""
    return max(least, min(20, rows // N))
