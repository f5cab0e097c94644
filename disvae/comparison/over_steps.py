"""Curves of groups over the optimiser steps: a thin line for each run, a thick one for the mean over seeds.

Imports no torch.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from disvae.comparison.figures import MOST_LINES, SERIES_COLOURS, Line, panel, unit
from disvae.comparison.groups import Comparison, Group
from disvae.config import ConfigError
from disvae.runs.curves import Curve, curves
from disvae.runs.tags import is_shown, titled

OVER_STEPS = (
    "val/elbo",
    "val/reconstruction",
    "val/kl",
    "val/overlap/mutual_information",
    "val/structure/total_correlation",
)
"""Terms whose curves are drawn; headline scores that are computed at validations follow."""

MOST_DRAWN_SEEDS = 10
"""Most runs of a group that are read."""

_Curves = Mapping[str, Sequence[Curve]]
"""The curves of the runs of a group, by name."""


def first_groups(comparison: Comparison, tag: str) -> list[Group]:
    """Return the groups that are drawn, at most MOST_LINES: the best by a tag, in the order of the comparison."""
    best = [id(each.group) for each in comparison.rank(tag)[:MOST_LINES]]
    return [group for group in comparison.groups if id(group) in best]


def over_steps(chosen: Sequence[Line]) -> Iterator[tuple[Figure, str]]:
    """Yield a panel and its name for each term and headline score that has curves; each line is a group of its own."""
    found = [_curves_of(line.groups[0]) for line in chosen]
    scores = [name for of in found for name in of if re.fullmatch(r"metric/[^/]+/[^/]+", name) and is_shown(name)]
    for name in dict.fromkeys([*OVER_STEPS, *scores]):
        if any(len(curve.steps) > 1 for of in found for curve in of.get(name, ())):
            yield _panel_of(name, found), f"{name} over the steps"


def _curves_of(group: Group) -> _Curves:
    found: dict[str, list[Curve]] = {}
    for row in group.rows[:MOST_DRAWN_SEEDS]:
        if row.path is not None and row.path.is_dir():
            try:
                of_run = curves(row.path)
            except ConfigError:  # a damaged file: the numbers of the run are in the tables
                continue
            for name, curve in of_run.items():
                found.setdefault(name, []).append(curve)
    return found


def _panel_of(name: str, found: Sequence[_Curves]) -> Figure:
    figure, axes = panel()
    for of, colour in zip(found, SERIES_COLOURS, strict=False):
        seeds = of.get(name, ())
        for curve in seeds:
            axes.plot(curve.steps, curve.values, color=colour, linewidth=0.8, alpha=0.45)
        steps = sorted(set.intersection(*(set(curve.steps.tolist()) for curve in seeds))) if seeds else []
        means = [np.mean([curve.values[curve.steps == step][0] for curve in seeds]) for step in steps]
        axes.plot(steps, means, color=colour, linewidth=2)
    axes.xaxis.set_major_formatter(mpl.ticker.EngFormatter(sep=""))
    axes.set_title(titled(name), loc="left", fontsize=11)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(unit(name) or "score")
    return figure
