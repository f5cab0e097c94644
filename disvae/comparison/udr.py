"""Which seed, and which group, UDR chooses without labels, beside what a supervised score does. Duan et al. 2020."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from disvae.comparison.groups import Comparison, Group, shown
from disvae.comparison.results import Row
from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.runs.tags import better, short
from disvae.system.imports import loading

TAG = "metric-runs/udr/spearman"


@dataclass(frozen=True)
class Choice:
    """Of one group: the runs with the highest UDR (several where they tie, always with two seeds) and `agreement`, the
    median of UDR over the seeds; by the supervised score the value of UDR's choice (mean of those that tie), the best
    runs and their value, the mean over seeds and the worst value.
    """

    group: Group
    chosen: tuple[Row, ...]
    agreement: float
    value: float
    best: tuple[Row, ...]
    best_value: float
    mean: float
    worst: float


def stale(group: Group) -> bool:
    """Whether some run of the group has no UDR, or one among other runs than the group's."""
    return any(row.peers != _names(group) or TAG not in row.metrics for row in group.rows)


def _names(group: Group) -> frozenset[str]:
    return frozenset(row.path.name for row in group.rows if row.path is not None)


def choices(groups: Iterable[Group], tag: str) -> list[Choice]:
    """For the groups of two runs or more whose UDR is there, of these very runs, and whose runs all have the tag.

    None for a tag without a better end.
    """
    if not better(tag):
        return []
    found = []
    for group in groups:
        if len(group.rows) < 2 or stale(group) or any(tag not in row.metrics for row in group.rows):
            continue
        agreement = [row.metrics[TAG] for row in group.rows]
        values = [row.metrics[tag] for row in group.rows]
        chosen = [i for i, udr in enumerate(agreement) if math.isclose(udr, max(agreement))]
        best = max(values, key=lambda value: better(tag) * value)
        found.append(
            Choice(
                group=group,
                chosen=tuple(group.rows[i] for i in chosen),
                agreement=median(agreement),
                value=fmean(values[i] for i in chosen),
                best=tuple(row for row, value in zip(group.rows, values, strict=True) if value == best),
                best_value=best,
                mean=fmean(values),
                worst=min(values, key=lambda value: better(tag) * value),
            )
        )
    return found


def among(choices: Sequence[Choice]) -> Choice:
    """The group that UDR chooses: the highest median over its seeds."""
    return max(choices, key=lambda choice: choice.agreement)


def heads(tag: str) -> list[str]:
    """Of the columns of `cells`."""
    name = short(tag)
    return ["group", "median UDR", "UDR's seed", f"its {name}", "best seed", f"its {name}", "mean of seeds", "worst"]


def cells(choice: Choice) -> list[str]:
    """A choice in words and numbers."""
    chosen, best = (" or ".join(shown(row.knobs.get("seed")) for row in rows) for rows in (choice.chosen, choice.best))
    value, best_value, mean, worst = (
        f"{value:.4g}" for value in (choice.value, choice.best_value, choice.mean, choice.worst)
    )
    return [choice.group.name, f"{choice.agreement:.3f}", chosen, value, best, best_value, mean, worst]


def conclusions(choices: Sequence[Choice], tag: str) -> list[str]:
    """What is to be said of ties, and which group UDR chooses, if there are several."""
    said = []
    if any(len(choice.chosen) > 1 for choice in choices):
        said.append("or: UDR ties, as it always does between two seeds; the value is their mean")
    if len(choices) > 1:
        chosen, best = among(choices), max(choices, key=lambda choice: better(tag) * choice.mean)
        said.append(
            f"of the groups UDR chooses {chosen.group.name} ({short(tag)} {chosen.mean:.4g}), "
            f"{short(tag)} itself {best.group.name} ({best.mean:.4g})"
        )
    return said


def compute(comparison: Comparison) -> dict[str, str]:
    """UDR of every group of two runs or more where it is missing or among other runs; by group why it could not be.

    Each run's network encodes 10,000 images; the scores go into its folder.
    """
    failed = {}
    for group in comparison.groups:
        if len(group.rows) > 1 and stale(group):
            with loading():
                from disvae.evaluation import run_scores as evaluation
                from disvae.evaluation.settings import scoring_settings

            chosen, _, score = scoring_settings(["metric=[udr]"])
            try:
                runs = [Run(row.path) for row in group.rows if row.path is not None]
                evaluation.score_together(runs, evaluation.choose_metrics(chosen, []), score)
            except ConfigError as error:
                failed[group.name] = str(error)
    return failed
