"""Chance levels by simulation: a metric's own score of standard normal codes, which ignore the factors."""

from collections.abc import Callable, Sequence

import numpy as np

ScoreFunction = Callable[[np.ndarray, np.ndarray, Sequence[str], int], dict[str, float]]


def simulated(score: ScoreFunction, codes: np.ndarray, factors: np.ndarray, rows: int) -> dict[str, float]:
    """Return the mean scores, without details, of seeded random codes of the shape of `codes`.

    The values of `codes` are not read. 1 to 20 such codes are drawn, with about `rows` rows in all, so that the cost
    does not grow with N.
    """
    names = [str(k) for k in range(factors.shape[1])]
    runs = []
    for seed in range(max(1, min(20, rows // len(codes)))):
        # The metric splits rows by a generator of its own from the seed: the noise must not repeat its numbers.
        noise = np.random.default_rng((seed, 1)).standard_normal(codes.shape)
        runs.append(score(noise, factors, names, seed))
    return {name: float(np.mean([run[name] for run in runs])) for name in runs[0] if "/" not in name}
