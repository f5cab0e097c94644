"""The result of a tuning: a table, a sentence on how sure it is, a picture, and the command that trains the winner."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from disvae.comparison.groups import Estimate, told_apart
from disvae.runs.atomic import replacing, write_atomically
from disvae.runs.tables import Cell, Head, Table, number_cell
from disvae.runs.tags import titled
from disvae.tuning.halving import Candidate

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def result_table(ranked: Sequence[Candidate], steps: Sequence[int], tag: str) -> Table:
    """Return a row for each candidate, the best first: its value at each rung, and how far it came."""
    heads = [Head("settings", is_text=True), *(Head(f"{titled(tag)}\nat {of_rung:,}") for of_rung in steps)]
    rows = []
    for each in ranked:
        cells = [Cell(each.name, kind="text")]
        cells += [number_cell(of.mean, _text(of)) for of in each.values]
        cells += [Cell("", "")] * (len(steps) - len(each.values))
        rows.append([*cells, Cell("best" if each is ranked[0] else each.reason, kind="text")])
    return Table([*heads, Head("", is_text=True)], rows)


def _text(of: Estimate) -> str:
    return f"{of.mean:.4g}" if of.half is None else f"{of.mean:.4g} ±{of.half:.2g}"


def how_sure(ranked: Sequence[Candidate]) -> str:
    """Return a sentence on the difference of the best candidate from the second, at the last rung that both reached."""
    if len(ranked) < 2 or not ranked[1].values:
        return "there is no other candidate with a value"
    rung = len(ranked[1].values) - 1
    first, second = ranked[0].values[rung], ranked[1].values[rung]
    apart = told_apart(first, second)
    said = f"the seeds {'tell' if apart else 'do not tell'} them apart (Welch, 95 %)"
    if apart is None:
        one = "one seed each says nothing about other seeds"
        together = "the score compares the seeds of a candidate, so they do not say how sure this is"
        said = one if first.n == 1 or second.n == 1 else together
    return f"second: {ranked[1].name}, {abs(first.mean - second.mean):.3g} away; {said}"


def winners_command(fixed: Sequence[str], winner: Candidate, every: int, steps: int) -> str:
    """Return the command that trains the winner to its full length; it continues the run of seed 0."""
    return f"python -m disvae.train {shlex.join([*fixed, *winner.overrides, f'eval_every={every}', f'steps={steps}'])}"


def write_result(
    folder: Path, name: str, ranked: Sequence[Candidate], steps: Sequence[int], tag: str, command: str
) -> Path:
    """Write NAME.json and NAME.png and return the path of the picture.

    Raises:
        ConfigError: a file cannot be written.
    """
    from disvae.pictures.style import plain_style

    folder.mkdir(parents=True, exist_ok=True)
    found = [
        {
            "overrides": each.overrides,
            "values": [of.values for of in each.values],
            "runs": each.folders,
            "reason": each.reason,
        }
        for each in ranked
    ]
    whole = {"goal": tag, "steps": list(steps), "candidates": found, "command": command}
    write_atomically(folder / f"{name}.json", json.dumps(whole, indent=1) + "\n")
    path = folder / f"{name}.png"
    with replacing(path) as temporary, plain_style():
        draw_rungs(ranked, steps, tag).savefig(temporary, format="png", dpi=110)
    return path


def draw_rungs(ranked: Sequence[Candidate], steps: Sequence[int], tag: str) -> "Figure":
    """Draw the goal of each candidate along the steps: the best in colour, those left behind in grey where they end."""
    from matplotlib.figure import Figure

    from disvae.pictures.style import COLOURS

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(ranked):
        last = len(each.values) == len(steps)
        colour = COLOURS[place % len(COLOURS)] if last else "0.6"
        means = [of.mean for of in each.values]
        axes.plot(steps[: len(means)], means, "o-", color=colour, label=each.name if last else None, zorder=2 + last)
        for of, of_rung in zip(each.values, steps, strict=False):
            axes.plot([of_rung] * of.n, of.values, ".", color=colour, alpha=0.6)
        if means and not last:
            end = (steps[len(means) - 1], means[-1])
            axes.annotate(each.name, end, (7, -3), textcoords="offset points", fontsize=7, color="0.35")
    axes.set_xscale("log")
    axes.set_xticks(list(steps), [f"{of_rung:,}" for of_rung in steps])
    axes.minorticks_off()
    axes.set_xlabel("optimiser steps")
    axes.set_ylabel(titled(tag))
    axes.legend(fontsize=8)
    return figure
