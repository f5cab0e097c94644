"""Results of a run as tables of text cells, which the terminal and the HTML pages both show. Imports no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disvae.runs.tags import titled

COLUMNS = {"train": "last batch", "val": "validation", "held_out": "held out"}
"""Stages of a run, the first part of a term's tag, and the words for them."""

Z = 1.96
"""Standard errors from the value to the end of its 95 % interval."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: its text, the value it is sorted by (the text if None), its CSS class, a hint and a link."""

    text: str
    value: str | None = None
    kind: str = ""
    hint: str = ""
    link: str = ""


@dataclass(frozen=True)
class Head:
    """A column's heading: its text, whether the column holds text, whether a first click sorts from high to low."""

    text: str
    is_text: bool = False
    descending: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table that a click on a heading sorts; the rows of `references` stay below the others."""

    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    references: Sequence[Sequence[Cell]] = ()


def number_cell(value: float | None, text: str | None = None) -> Cell:
    """Return the cell of a number, sorted by all its digits and shown as `text` or with four; empty for None."""
    if value is None:
        return Cell("", "")
    return Cell(f"{value:.4g}" if text is None else text, repr(value))


def number(value: float, half: float | None) -> str:
    """Return a number to the digits that its interval, `half` to each side, leaves it: `0.196 ±0.036`."""
    if abs(value) < 1e-12:
        value = 0.0
    if half is None or not half < math.inf:
        return f"{value:.4g}"
    if half == 0:
        return f"{value:.4g} ±0"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 3)
    return f"{round(value, decimals) + 0.0:.{decimals}f} ±{half:.{decimals}f}"


def _terms(metrics: Iterable[str]) -> list[str]:
    """Return terms in the order they were logged, without per-latent vectors, standard errors and bounds."""
    names = dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in COLUMNS)
    return [name for name in names if not name.rpartition("/")[2].isdigit() and not name.endswith(("_se", "_limit"))]


def terms_table(metrics: Mapping[str, float]) -> Table:
    """Return the final terms of a run with their intervals: a row a term, a column each stage that has values."""
    stages = [stage for stage in COLUMNS if any(name.startswith(f"{stage}/") for name in metrics)]
    rows = []
    for name in _terms(metrics):
        cells = [Cell(name, kind="text")]
        for stage in stages:
            value, error = metrics.get(f"{stage}/{name}"), metrics.get(f"{stage}/{name}_se")
            text = None if value is None else number(value, None if error is None else Z * error)
            cells.append(number_cell(value, text))
        rows.append(cells)
    return Table([Head("nats per image", is_text=True), *(Head(COLUMNS[stage]) for stage in stages)], rows)


def scores_table(entries: Mapping[str, Any]) -> Table:
    """Return the scores of scores.json, by metric: a row a score, a column the model, each baseline and chance.

    Details of a score are the hint of its name. Without any chance level there is no column for it.
    """
    sources = list(dict.fromkeys(s for entry in entries.values() for of in entry["scores"].values() for s in of))
    with_chance = any(entry["chance"] for entry in entries.values())
    rows = []
    for label, entry in entries.items():
        for name, scores in entry["scores"].items():
            if "/" in name:
                continue
            details = [
                f"{detail.partition('/')[2]} {of[sources[0]]['value']:.4g}"
                for detail, of in entry["scores"].items()
                if detail.startswith(f"{name}/") and sources[0] in of
            ]
            cells = [Cell(titled(f"metric/{label}/{name}"), kind="text", hint=", ".join(details))]
            cells += [_score(scores.get(source)) for source in sources]
            if with_chance:
                chance = entry["chance"].get(name)
                cells.append(number_cell(chance, None if chance is None else f"{chance:.2g}"))
            rows.append(cells)
    heads = [Head("score", is_text=True), *(Head(source, descending=True) for source in sources)]
    return Table([*heads, Head("chance")] if with_chance else heads, rows)


def _score(of: Mapping[str, float | None] | None) -> Cell:
    if of is None or of["value"] is None:
        return number_cell(None)
    low, high = of["low"], of["high"]
    return number_cell(of["value"], number(of["value"], None if low is None or high is None else (high - low) / 2))


def failures(entries: Mapping[str, Any]) -> list[str]:
    """Return a line for each reason why scores are missing, with all metrics and sources that it concerns."""
    concerned: dict[str, list[str]] = {}
    for label, entry in entries.items():
        for reason in dict.fromkeys(entry["failed"].values()):
            sources = [source for source, why in entry["failed"].items() if why == reason]
            concerned.setdefault(reason, []).append(f"{label} ({', '.join(sources)})")
    return [f"{', '.join(whose)}: {reason}" for reason, whose in concerned.items()]
