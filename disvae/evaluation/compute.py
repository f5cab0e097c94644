"""Compute metrics on encodings: scores with confidence intervals and baselines, and reasons of failures."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from tqdm import tqdm

from disvae.config import ConfigError
from disvae.data.factors import binned, is_continuous
from disvae.encoding import Encoding
from disvae.evaluation.confidence import MetricOutcome, Score, attempt, jackknife, of_codes, require_factors
from disvae.metric import Metric, ModelMetric, NotApplicable
from disvae.runs.shared import once
from disvae.statistics.latents import informative
from disvae.system.scratch import scratch

log = logging.getLogger(__name__)

MODEL = "model"
"""Name of the source whose codes are evaluated; the other sources are baselines."""

FIXED_BASELINES = ("untrained", "pca", "ica")
"""Baselines that are the same for several runs of a sweep."""

Sources = Mapping[str, Sequence[Encoding]]
"""Encodings by source; the scores of several encodings of one source, such as random rotations, are averaged."""


@dataclass
class Result:
    """The scores of one metric for the model and its baselines, and the reasons of failures."""

    scores: dict[str, dict[str, Score]] = field(default_factory=dict)  # by name of the score, then by source
    chance: dict[str, float] = field(default_factory=dict)  # by name of the score
    failed: dict[str, str] = field(default_factory=dict)  # reason by source
    seconds: float = 0.0

    def add(self, source: str, scores: Mapping[str, Score]) -> None:
        """Add the scores of one source."""
        for name, score in scores.items():
            self.scores.setdefault(name, {})[source] = score


def compute_scores(
    metrics: Mapping[str, Metric | ModelMetric],
    sources: Sources,
    *,
    repeats: int,
    seed: int,
    named: Collection[str],
    processes: int = 1,
    bins: int | None = None,
    factors: Sequence[str] | None = None,
    done: Callable[[str, Result], None] = lambda label, result: None,
) -> dict[str, Result]:
    """Compute every metric for every source and return the results by label; failures are listed with their reasons.

    evaluation/confidence.py computes the intervals from `repeats` random halves; repeats=0 computes scores only.
    Metrics that do not fit the data are left out unless their label is in `named`. Metrics of codes are distributed
    over `processes`, which does not change results. `bins` is the number of classes into which continuous factors are
    divided; with None, metrics that read factors do not fit data with such a factor. `factors` are the factors that are
    scored; with None, all are. `done` is called with each result as soon as it is complete.
    """
    from joblib import parallel_config

    if factors is not None:
        sources = {source: [with_factors(each, factors) for each in found] for source, found in sources.items()}
    if bins is not None:
        sources = {source: [in_classes(each, bins) for each in encodings] for source, encodings in sources.items()}
    results = {label: Result() for label in metrics}
    tasks = _tasks(metrics, sources, repeats, seed, named)
    left = Counter(label for (label, _), _, _ in tasks)
    bar = tqdm(total=len(tasks), desc="scoring", leave=False, disable=None)
    with bar, parallel_config(temp_folder=str(scratch())):
        for (label, source), outcome in _outcomes(tasks, processes):
            bar.set_postfix_str(f"{label}, {source}")
            bar.update()
            result = results[label]
            result.add(source, outcome.scores)
            result.seconds += outcome.seconds
            if source == MODEL:
                result.chance = outcome.chance
            if outcome.reason is not None:
                log.debug("%s of %s: %s", label, source, outcome.reason)
                if outcome.applicable or label in named:
                    result.failed[source] = outcome.reason
            left[label] -= 1
            if not left[label] and (result.scores or result.failed):
                done(label, result)
    return {label: result for label, result in results.items() if result.scores or result.failed}


def with_factors(encoding: Encoding, names: Sequence[str]) -> Encoding:
    """Return an encoding with these factors only, in their order in the data.

    Raises:
        ConfigError: the images have no such factor.
    """
    require_factors_named(encoding.factor_names, names)
    kept = [k for k, name in enumerate(encoding.factor_names) if name in names]
    named = tuple(encoding.factor_names[k] for k in kept)
    return replace(encoding, factors=encoding.factors[:, kept], factor_names=named)


def require_factors_named(there: Sequence[str], names: Sequence[str]) -> None:
    """Raise ConfigError if score.factors names a factor that the images do not have."""
    unknown = [name for name in names if name not in there]
    if unknown:
        has = ", ".join(there) or "no factors"
        raise ConfigError(f"score.factors={','.join(unknown)} is not known for these images, which have {has}")


def in_classes(encoding: Encoding, bins: int) -> Encoding:
    """Return an encoding whose continuous factors are divided into at most `bins` classes of equally many images.

    Raises:
        ConfigError: no factor is continuous.
    """
    require_continuous(encoding.factors, bins)
    return replace(encoding, factors=binned(encoding.factors, bins))


def require_continuous(factors: np.ndarray, bins: int) -> None:
    """Raise ConfigError if score.bins would change nothing, because no factor (N, K) is continuous."""
    if not any(map(is_continuous, factors.T)):
        raise ConfigError(f"score.bins={bins} has no effect: no factor is continuous; leave it out")


def fits(metric: Metric | ModelMetric, factors: int, continuous: bool) -> bool:
    """Return whether data with so many factors let the metric be computed; `continuous`: one of them has no classes."""
    return metric.factors <= factors and not (metric.labels and factors > 1) and not (metric.factors and continuous)


Task = tuple[tuple[str, str], bool, Callable[[], MetricOutcome]]
"""Metric and source, whether another process may compute it, and the function that computes it."""


def _tasks(
    metrics: Mapping[str, Metric | ModelMetric], sources: Sources, repeats: int, seed: int, named: Collection[str]
) -> list[Task]:
    tasks: list[Task] = []
    factors = next(iter(sources.values()))[0].factors
    continuous = any(map(is_continuous, factors.T))
    for label, metric in metrics.items():
        if label not in named and not fits(metric, factors.shape[1], continuous):
            continue
        for source, encodings in sources.items():
            encoding = encodings[0]
            if isinstance(metric, ModelMetric):
                if source == MODEL:
                    compute = partial(_of_model, metric, encoding, repeats, seed)
                    tasks.append(((label, source), False, partial(attempt, compute)))
                continue
            work = partial(
                of_codes,
                metric,
                [_scored(each) if source == MODEL else each.codes for each in encodings],
                encoding.factors,
                encoding.factor_names,
                population=encoding.population,
                repeats=repeats,
                seed=seed,
                with_chance=source == MODEL and repeats > 0,
            )
            compute_it = partial(once, work, work, _succeeded) if source in FIXED_BASELINES else work
            tasks.append(((label, source), not metric.slow, compute_it))  # slow metrics start processes themselves
    return tasks


def _succeeded(outcome: MetricOutcome) -> bool:
    return outcome.reason is None


def _scored(encoding: Encoding) -> np.ndarray:
    """Return the codes (N, D) to score; those of other programs are as they are, because their scale is arbitrary."""
    return encoding.codes if encoding.posterior is None else informative(encoding.codes)


def _outcomes(tasks: Sequence[Task], processes: int) -> Iterator[tuple[tuple[str, str], MetricOutcome]]:
    """Yield the outcomes in the order of the tasks, but tasks of this process after those of other processes."""
    shared = [task for task in tasks if task[1] and processes > 1]
    own = [task for task in tasks if not (task[1] and processes > 1)]
    if shared:
        from joblib import Parallel, delayed

        pool = Parallel(n_jobs=min(processes, len(shared)), return_as="generator")
        yield from zip([key for key, _, _ in shared], pool(delayed(work)() for _, _, work in shared), strict=True)
    for key, _, work in own:
        yield key, work()


def _of_model(
    metric: ModelMetric, encoding: Encoding, repeats: int, seed: int
) -> tuple[dict[str, Score], dict[str, float]]:
    require_factors(metric.factors, encoding.factors, encoding.factor_names)
    for name in metric.needs:
        if getattr(encoding, name) is None:
            raise NotApplicable(f"the {name} is needed, but these codes have none")
    if metric.variational and encoding.vae is not None and encoding.vae.without_elbo:
        raise NotApplicable(encoding.vae.without_elbo)

    def some(rows: np.ndarray | None, seed: int) -> dict[str, float]:
        return metric(encoding if rows is None else encoding.take(rows), seed=seed)

    N = len(encoding.codes)
    return jackknife(some, N, lambda rows, name: rows, population=encoding.population, repeats=repeats, seed=seed), {}
