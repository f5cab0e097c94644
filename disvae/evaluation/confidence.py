"""Scores with standard errors from random halves of the samples: the delete-half jackknife.

The variance of a mean over random halves of a sample equals the variance of the mean itself: it is the delete-d
jackknife of Shao & Wu (1989) with d = N/2, whose factor (N - d)/d is 1. A metric may read only m of N rows, and m' rows
of a half, and draws them anew; this multiplies the variance by (m/m')(1 - m'/N), which is divided out. If the samples
are N of a population of P images, the finite population correction 1 - N/P applies. Imports numpy only, because it also
runs in other processes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from disvae.data.factors import is_continuous
from disvae.metric import Metric, NotApplicable
from disvae.statistics.checked_codes import checked
from disvae.system.signals import stop_if_asked

Compute = Callable[[np.ndarray | None, int], dict[str, float]]
"""A function from rows (None: all rows) and a seed to scores by name."""


@dataclass(frozen=True)
class Score:
    """A score, its standard error and the ends of its 95 % confidence interval (None if unknown)."""

    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MetricOutcome:
    """The result of one metric for one source: scores and chance levels, or the reason why there are none."""

    scores: dict[str, Score]
    chance: dict[str, float]
    reason: str | None
    applicable: bool
    seconds: float


def attempt(compute: Callable[[], tuple[dict[str, Score], dict[str, float]]]) -> MetricOutcome:
    """Return the outcome of `compute`; any error becomes the reason of a failure, so that other metrics continue."""
    started = time.perf_counter()
    scores: dict[str, Score] = {}
    chance: dict[str, float] = {}
    reason, applicable = None, True
    try:
        scores, chance = compute()
    except Exception as error:
        stop_if_asked()
        applicable = not isinstance(error, NotApplicable)
        reason = why_failed(error)
    return MetricOutcome(scores, chance, reason, applicable, time.perf_counter() - started)


def why_failed(error: Exception) -> str:
    """Return the reason of a failure in words; a ValueError explains itself."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def of_codes(
    metric: Metric,
    codes: Sequence[np.ndarray],
    factors: np.ndarray,
    names: Sequence[str],
    *,
    population: int | None,
    repeats: int,
    seed: int,
    with_chance: bool,
) -> MetricOutcome:
    """Return the scores of codes (N, D), averaged over several arrays of codes, and on request their chance levels."""

    def compute() -> tuple[dict[str, Score], dict[str, float]]:
        require_factors(metric.factors, factors, names)
        chance = {}
        if with_chance:
            known, called = (factors, names) if metric.factors else (None, ())
            chance = metric.chance(*checked(codes[0], known, called, metric.factors, metric.samples)[:2])
        if len(codes) > 1:
            return averaged([metric(each, factors, seed=seed, names=names) for each in codes]), chance

        def some(rows: np.ndarray | None, seed: int) -> dict[str, float]:
            chosen = slice(None) if rows is None else rows
            return metric(codes[0][chosen], factors[chosen], seed=seed, names=names)

        N = len(factors)
        return jackknife(some, N, metric.rows, population=population, repeats=repeats, seed=seed), chance

    with threadpool_limits(1):  # the matrices are small, so more threads would be slower
        return attempt(compute)


def require_factors(least: int, factors: np.ndarray, names: Sequence[str]) -> None:
    """Raise NotApplicable unless there are at least `least` factors (N, K), all of them with classes."""
    if factors.shape[1] < least:
        raise NotApplicable(f"at least {least} factors are needed, got {factors.shape[1]}")
    for name, column in zip(names, factors.T if least else (), strict=False):
        if is_continuous(column):
            raise NotApplicable(f"factor {name} is continuous: type score.bins=20 to score it in 20 classes")


def jackknife(
    compute: Compute,
    N: int,
    read: Callable[[int, str], float],
    *,
    population: int | None,
    repeats: int,
    seed: int,
) -> dict[str, Score]:
    """Return scores of all N rows with standard errors: the metric's own, or from `repeats` random halves.

    `read(N, name)` is the number of rows that a score uses of N. If the rows are the whole `population`, the repeats
    use all rows and only their seeds differ.
    """
    values = compute(None, seed)
    scores = with_own_errors(values)
    unsure = [name for name, score in scores.items() if score.se is None]
    if not unsure:
        return scores
    complete = population == N
    spread = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        other = int(rng.integers(2**31))
        try:
            spread.append(compute(None if complete else rng.permutation(N)[: N // 2], other))
        except ValueError:  # half of the rows are too few for this metric, so it gets no interval
            return scores
    for name in unsure:
        of_name = [repeat[name] for repeat in spread if name in repeat]
        if len(of_name) > 1:
            se = float(np.std(of_name, ddof=1))
            if not complete:
                of_all, of_half = read(N, name), read(N // 2, name)
                se /= ((of_all / of_half) * (1 - of_half / N)) ** 0.5
                se *= (1 - N / (population or math.inf)) ** 0.5
            scores[name] = _score(values[name], se, len(of_name))
    return scores


def averaged(spread: Sequence[Mapping[str, float]]) -> dict[str, Score]:
    """Return the mean of each score over several arrays of codes, with the standard error of the mean."""
    scores = {}
    for name in spread[0]:
        if not name.endswith("_se"):
            values = [found[name] for found in spread if name in found]
            error = float(np.std(values, ddof=1)) / len(values) ** 0.5
            scores[name] = _score(float(np.mean(values)), error, len(values))
    return scores


def with_own_errors(values: Mapping[str, float]) -> dict[str, Score]:
    """Return scores by name; a score with a value `NAME_se` beside it gets an interval from it."""
    return {
        name: _score(value, values[f"{name}_se"], None) if f"{name}_se" in values else Score(float(value))
        for name, value in values.items()
        if not name.endswith("_se")
    }


def _score(value: float, se: float, repeats: int | None) -> Score:
    from scipy.special import ndtri, stdtrit  # scipy.stats is slow to import

    quantile = ndtri(0.975) if repeats is None else stdtrit(repeats - 1, 0.975)
    return Score(float(value), float(se), float(value - quantile * se), float(value + quantile * se))
