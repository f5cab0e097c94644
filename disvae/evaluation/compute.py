"""Metrics by encodings: every score with its interval and its controls, and what failed and why."""

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from tqdm import tqdm

from disvae.encoding import Encoding
from disvae.evaluation.confidence import MetricOutcome, Score, attempt, jackknife, of_codes
from disvae.metric import Metric, ModelMetric, NotApplicable

log = logging.getLogger(__name__)

MODEL = "model"
"""The source of codes that is scored; the others are its controls."""

Sources = Mapping[str, Sequence[Encoding]]
"""Encodings by source; several of one source, random rotations for example, are averaged."""


@dataclass
class Result:
    """What one metric said of the model and of its controls."""

    scores: dict[str, dict[str, Score]] = field(default_factory=dict)  # name of the score, source
    chance: dict[str, float] = field(default_factory=dict)  # name of the score
    failed: dict[str, str] = field(default_factory=dict)  # source, reason
    seconds: float = 0.0

    def add(self, source: str, scores: Mapping[str, Score]) -> None:
        """Take the scores of a source."""
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
    done: Callable[[str, Result], None] = lambda label, result: None,
) -> dict[str, Result]:
    """Every metric of every source that it can be had for; one that fails is listed with its reason.

    Intervals are those of evaluation/confidence.py. Metrics that do not suit the data are left out unless `named`.
    Metrics of codes are shared out to `processes`, with the same results. `done` is told each result as it is there.
    Without `repeats` there are the scores alone.
    """
    results = {label: Result() for label in metrics}
    tasks = _tasks(metrics, sources, repeats, seed, named)
    left = Counter(label for (label, _), _, _ in tasks)
    with tqdm(total=len(tasks), desc="scoring", leave=False, disable=None) as bar:
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


Task = tuple[tuple[str, str], bool, Callable[[], MetricOutcome]]
"""Metric and source, whether another process may do it, and the work."""


def _tasks(
    metrics: Mapping[str, Metric | ModelMetric], sources: Sources, repeats: int, seed: int, named: Collection[str]
) -> list[Task]:
    tasks: list[Task] = []
    for label, metric in metrics.items():
        for source, encodings in sources.items():
            encoding = encodings[0]
            if isinstance(metric, ModelMetric):
                if source == MODEL:
                    compute = partial(_of_model, metric, encoding, repeats, seed)
                    tasks.append(((label, source), False, partial(attempt, compute)))
                continue
            if metric.labels and label not in named and encoding.factors.shape[1] > 1:
                continue
            work = partial(
                of_codes,
                metric,
                [each.codes for each in encodings],
                encoding.factors,
                encoding.factor_names,
                population=encoding.population,
                repeats=repeats,
                seed=seed,
                with_chance=source == MODEL and repeats > 0,
            )
            tasks.append(((label, source), not metric.slow, work))  # slow ones have processes of their own
    return tasks


def _outcomes(tasks: Sequence[Task], processes: int) -> Iterator[tuple[tuple[str, str], MetricOutcome]]:
    """The outcomes in the order of the tasks, those of this process last where there are others."""
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
    if encoding.factors.shape[1] < metric.factors:
        raise NotApplicable(f"at least {metric.factors} factors are needed, got {encoding.factors.shape[1]}")
    for name in metric.needs:
        if getattr(encoding, name) is None:
            raise NotApplicable(f"the {name} is needed, which these codes come without")

    def some(rows: np.ndarray | None, seed: int) -> dict[str, float]:
        return metric(encoding if rows is None else encoding.take(rows), seed=seed)

    N = len(encoding.codes)
    return jackknife(some, N, lambda rows, name: rows, population=encoding.population, repeats=repeats, seed=seed), {}
