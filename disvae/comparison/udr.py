"""Model selection without labels by UDR (Duan et al. 2020): the chosen seed and group, beside a supervised score."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from disvae.comparison.groups import Comparison, Group, shown
from disvae.comparison.row import Row
from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.runs.tags import better, short
from disvae.system.imports import loading

TAG = "metric-runs/udr/spearman"


@dataclass(frozen=True)
class Choice:
    """The choice of UDR in one group, and how a supervised score judges it.

    `chosen` are the runs with the highest UDR; several may tie, and two seeds always do. `agreement` is the median UDR
    over the seeds. In the supervised score: `value` is the mean of the chosen runs, `best_value` that of the runs
    `best`, `mean` the mean over all seeds, `worst` the worst value.
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
    """Return whether a run of the group has no UDR, or a UDR computed with other runs than those of the group."""
    return any(row.peers != _names(group) or TAG not in row.metrics for row in group.rows)


def _names(group: Group) -> frozenset[str]:
    return frozenset(row.path.name for row in group.rows if row.path is not None)


def choices(groups: Iterable[Group], tag: str) -> list[Choice]:
    """Return a choice for each group with two or more runs, an up-to-date UDR, and the tag in every run.

    The list is empty for a tag without a better end.
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
    """Return the choice in the group that UDR prefers: the highest median over its seeds."""
    return max(choices, key=lambda choice: choice.agreement)


def heads(tag: str) -> list[str]:
    """Return the headings of the columns of `cells`."""
    name = short(tag)
    return ["group", "median UDR", "UDR's seed", f"its {name}", "best seed", f"its {name}", "mean of seeds", "worst"]


def cells(choice: Choice) -> list[str]:
    """Return the cells of a choice: names, seeds and scores as text."""
    chosen, best = (
        " or ".join(shown(row.settings.get("seed")) for row in rows) for rows in (choice.chosen, choice.best)
    )
    value, best_value, mean, worst = (
        f"{value:.4g}" for value in (choice.value, choice.best_value, choice.mean, choice.worst)
    )
    return [choice.group.name, f"{choice.agreement:.3f}", chosen, value, best, best_value, mean, worst]


def conclusions(choices: Sequence[Choice], tag: str) -> list[str]:
    """Return sentences on ties, and on the group that UDR chooses if there are several."""
    said = []
    if any(len(choice.chosen) > 1 for choice in choices):
        said.append("or: equal UDR, as always with two seeds; the value is their mean")
    if len(choices) > 1:
        chosen, best = among(choices), max(choices, key=lambda choice: better(tag) * choice.mean)
        said.append(
            f"UDR chooses the group {chosen.group.name} ({short(tag)} {chosen.mean:.4g}); "
            f"{short(tag)} would choose {best.group.name} ({best.mean:.4g})"
        )
    return said


def compute(comparison: Comparison) -> dict[str, str]:
    """Compute UDR of every group of two or more runs where it is missing or out of date; return failures by group name.

    The network of each run encodes 10,000 images; the scores are written into its folder.
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
