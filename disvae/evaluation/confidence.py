"""Scores with their standard errors: the spread of random halves of the rows, by the delete-half jackknife.

Given a sample, the variance of a mean over random halves of it is that of the mean itself (Shao & Wu 1989, whose
delete-d jackknife this is with d = N/2: their factor (N - d)/d is 1). A score that is read from m of N rows, and in a
half from m', varies (m/m')(1 - m'/N) times as much, since those rows are chosen anew: that is divided out. A share of
N/P of a population is known. numpy alone: this also runs in processes.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from disvae.metric import Metric, NotApplicable
from disvae.statistics.checked_codes import checked

Compute = Callable[[np.ndarray | None, int], dict[str, float]]
"""Scores of some rows, or of all for None, with a seed."""


@dataclass(frozen=True)
class Score:
    """A score, its standard error and the ends of its 95 % interval; None where it has none."""

    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class MetricOutcome:
    """What one metric made of one source: scores and the chance level, or the reason why there are none."""

    scores: dict[str, Score]
    chance: dict[str, float]
    reason: str | None
    applicable: bool
    seconds: float


def attempt(compute: Callable[[], tuple[dict[str, Score], dict[str, float]]]) -> MetricOutcome:
    """Whatever a metric raises becomes a reason, so that the others go on."""
    started = time.perf_counter()
    scores: dict[str, Score] = {}
    chance: dict[str, float] = {}
    reason, applicable = None, True
    try:
        scores, chance = compute()
    except Exception as error:
        applicable = not isinstance(error, NotApplicable)
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return MetricOutcome(scores, chance, reason, applicable, time.perf_counter() - started)


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
    """A metric of codes (N, D), or its mean over several of them, and its chance level if that is wanted."""

    def compute() -> tuple[dict[str, Score], dict[str, float]]:
        if factors.shape[1] < metric.factors:
            raise NotApplicable(f"at least {metric.factors} factors are needed, got {factors.shape[1]}")
        chance = {}
        if with_chance:
            chance = metric.chance(*checked(codes[0], factors, names, metric.factors, metric.samples)[:2])
        if len(codes) > 1:
            return averaged([metric(each, factors, seed=seed, names=names) for each in codes]), chance

        def some(rows: np.ndarray | None, seed: int) -> dict[str, float]:
            chosen = slice(None) if rows is None else rows
            return metric(codes[0][chosen], factors[chosen], seed=seed, names=names)

        N = len(factors)
        return jackknife(some, N, metric.rows, population=population, repeats=repeats, seed=seed), chance

    with threadpool_limits(1):  # the matrices are small: further threads are in each other's way
        return attempt(compute)


def jackknife(
    compute: Compute,
    N: int,
    read: Callable[[int, str], float],
    *,
    population: int | None,
    repeats: int,
    seed: int,
) -> dict[str, Score]:
    """Scores of all N rows, with standard errors of their own or from `repeats` random halves, each with its own seed.

    `read` says how many of N rows a score is read from. Where the rows are the whole `population` nothing is owed to
    their choice and only the seeds differ.
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
        except ValueError:  # half of the rows are too few: a score without an interval
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
    """The mean of each score over several codes, with the mean's standard error."""
    scores = {}
    for name in spread[0]:
        if not name.endswith("_se"):
            values = [found[name] for found in spread if name in found]
            error = float(np.std(values, ddof=1)) / len(values) ** 0.5
            scores[name] = _score(float(np.mean(values)), error, len(values))
    return scores


def with_own_errors(values: Mapping[str, float]) -> dict[str, Score]:
    """Scores of which those with a `NAME_se` beside them have an interval."""
    return {
        name: _score(value, values[f"{name}_se"], None) if f"{name}_se" in values else Score(float(value))
        for name, value in values.items()
        if not name.endswith("_se")
    }


def _score(value: float, se: float, repeats: int | None) -> Score:
    from scipy.special import ndtri, stdtrit  # scipy.stats is slow to import

    quantile = ndtri(0.975) if repeats is None else stdtrit(repeats - 1, 0.975)
    return Score(float(value), float(se), float(value - quantile * se), float(value + quantile * se))
