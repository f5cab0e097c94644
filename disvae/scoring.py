"""Metrics by encodings: every score with its standard error, its interval, its controls, and what failed and why."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm, t
from tqdm import tqdm

from disvae.encoding import Encoding
from disvae.metric import Metric, ModelMetric, NotApplicable

log = logging.getLogger(__name__)

MODEL = "model"
"""The source of codes that is scored; the others are its controls."""


@dataclass(frozen=True)
class Score:
    """A score, its standard error and the ends of its 95 % interval; None where it has none."""

    value: float
    se: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass
class Result:
    """What one metric said of the model and of its controls."""

    scores: dict[str, dict[str, Score]] = field(default_factory=dict)  # name of the score, source
    chance: dict[str, float] = field(default_factory=dict)  # name of the score
    failed: dict[str, str] = field(default_factory=dict)  # source, reason
    samples: int = 0
    seconds: float = 0.0

    def add(self, source: str, scores: Mapping[str, Score]) -> None:
        """Take the scores of a source."""
        for name, score in scores.items():
            self.scores.setdefault(name, {})[source] = score


Sources = Mapping[str, Sequence[Encoding]]
"""Encodings by source; several of one source, random rotations for example, are averaged."""


def score(
    metrics: Mapping[str, Metric | ModelMetric],
    sources: Sources,
    *,
    repeats: int,
    seed: int,
    named: Collection[str],
) -> dict[str, Result]:
    """Every metric of every source that it can be had for; one that fails is listed with its reason.

    The interval is the value ± Student's t times the standard error, which is the spread of `repeats` random halves of
    the rows, each with a seed of its own: the variance of a statistic over random halves of a given sample is that of
    the statistic itself (the delete-half jackknife; Shao & Wu 1989). Where the encoding is the whole factor grid only
    the seeds differ. A metric that knows its own standard error is asked nothing more. Metrics that are not for these
    data are left out unless they are `named`.
    """
    results: dict[str, Result] = {}
    pairs = [
        (label, source)
        for label, metric in metrics.items()
        for source in sources
        if source == MODEL or isinstance(metric, Metric)
    ]
    with tqdm(pairs, desc="scoring", leave=False, disable=None) as bar:
        for label, source in bar:
            bar.set_postfix_str(f"{label}, {source}")
            result, metric = results.setdefault(label, Result(samples=len(sources[source][0].codes))), metrics[label]
            started = time.perf_counter()
            try:
                if metric.labels and label not in named and sources[source][0].factors.shape[1] > 1:
                    raise NotApplicable("it is for labels")
                result.add(source, _of_source(metric, sources[source], repeats, seed))
                if source == MODEL and isinstance(metric, Metric):
                    encoding = sources[source][0]
                    result.chance = metric.chance(encoding.codes.astype(np.float64), encoding.factors)
            except Exception as error:
                if not isinstance(error, NotApplicable) or label in named:
                    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
                    result.failed[source] = f"{kind}{error}"
                log.debug("%s of %s", label, source, exc_info=True)
            result.seconds += time.perf_counter() - started
    return {label: result for label, result in results.items() if result.scores or result.failed}


def _once(metric: Metric | ModelMetric, encoding: Encoding, seed: int) -> dict[str, float]:
    K = encoding.factors.shape[1]
    if metric.factors > K:
        raise NotApplicable(f"at least {metric.factors} factors are needed, got {K}")
    if isinstance(metric, Metric):
        return metric(encoding.codes, encoding.factors, seed=seed, names=encoding.factor_names)
    for name in metric.needs:
        if getattr(encoding, name) is None:
            raise NotApplicable(f"the {name} is needed, which these codes come without")
    return metric(encoding, seed=seed)


def _of_source(
    metric: Metric | ModelMetric, encodings: Sequence[Encoding], repeats: int, seed: int
) -> dict[str, Score]:
    values = _once(metric, encodings[0], seed)
    scores = intervals(values)
    unsure = [name for name, score in scores.items() if score.se is None]
    if not unsure:
        return scores
    if len(encodings) > 1:
        spread = [values, *(_once(metric, encoding, seed) for encoding in encodings[1:])]
    else:
        try:
            spread = [_once(metric, *pair) for pair in _repeats(encodings[0], repeats, seed)]
        except ValueError as error:  # half of the rows are too few
            log.debug("no interval: %s", error)
            spread = []
    for name in unsure:
        of_name = [repeat[name] for repeat in spread if name in repeat]
        if len(of_name) < 2:
            continue
        se = float(np.std(of_name, ddof=1))
        value = values[name]
        if len(encodings) > 1:
            value, se = float(np.mean(of_name)), se / len(of_name) ** 0.5
        scores[name] = _interval(value, se, len(of_name))
    return scores


def intervals(values: Mapping[str, float]) -> dict[str, Score]:
    """Scores of which those with a `NAME_se` beside them have an interval."""
    return {
        name: _interval(value, values.get(f"{name}_se"), None)
        for name, value in values.items()
        if not name.endswith("_se")
    }


def _interval(value: float, se: float | None, repeats: int | None) -> Score:
    if se is None:
        return Score(float(value))
    quantile = norm.ppf(0.975) if repeats is None else t.ppf(0.975, repeats - 1)
    return Score(float(value), float(se), float(value - quantile * se), float(value + quantile * se))


def _repeats(encoding: Encoding, repeats: int, seed: int) -> Iterator[tuple[Encoding, int]]:
    """Random halves of the rows, or all of them where they are all there are, each with another seed."""
    N = len(encoding.codes)
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        other = int(rng.integers(2**31))
        yield (encoding if encoding.complete else encoding.take(rng.permutation(N)[: N // 2])), other
