"""Tables of text cells with the results of a run, for the terminal and the HTML pages. Imports no torch."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from disvae.runs.tags import MINIBATCH, better, enough_images, titled

COLUMNS = {"train": "last batch", "val": "validation", "held_out": "held out"}
"""Column headings by stage, which is the first part of the tag of a term."""

Z = 1.96
"""Number of standard errors from a value to the end of its 95 % confidence interval."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table: text, value to sort by (the text if None), CSS class, hint and link."""

    text: str
    value: str | None = None
    kind: str = ""
    hint: str = ""
    link: str = ""


@dataclass(frozen=True)
class Head:
    """The heading of a column; `descending` makes the first click sort from high to low."""

    text: str
    is_text: bool = False
    descending: bool = False
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by a column; the rows of `references` always stay below the others."""

    heads: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    references: Sequence[Sequence[Cell]] = ()


def number_cell(value: float | None, text: str | None = None) -> Cell:
    """Return the cell of a number, shown as `text` or with four digits; the cell of None is empty."""
    if value is None:
        return Cell("", "")
    return Cell(f"{value:.4g}" if text is None else text, repr(value))


def number(value: float, half: float | None) -> str:
    """Return a number with the half-width of its interval, to the digits that the interval allows: `0.196 ±0.036`."""
    if abs(value) < 1e-12:
        value = 0.0
    if half is None or not half < math.inf:
        return f"{value:.4g}"
    if half == 0:
        return f"{value:.4g} ±0"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 3)
    return f"{round(value, decimals) + 0.0:.{decimals}f} ±{half:.{decimals}f}"


def _terms(metrics: Iterable[str]) -> list[str]:
    """Return the names of terms in logged order, without per-latent values, errors, bounds, minibatch estimates."""
    names = dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in COLUMNS)
    hidden = ("_se", "_limit", *MINIBATCH)
    return [name for name in names if not name.rpartition("/")[2].isdigit() and not name.endswith(hidden)]


def terms_table(metrics: Mapping[str, float]) -> Table:
    """Return the final terms of a run with confidence intervals: a row for each term, a column for each stage."""
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


def scores_table(entries: Mapping[str, Any], *, narrow: bool = False) -> Table:
    """Return the scores in scores.json: a row for each score; columns for the model, the baselines and chance.

    The hint of a name holds details of the score. If no metric has a chance level, its column is left out. A `narrow`
    table has one column for all baselines, with the best of them.
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
            shown = sources[:1] if narrow else sources
            cells += [_score(scores.get(source)) for source in shown]
            if narrow and len(sources) > 1:
                cells.append(_best_baseline({source: scores.get(source) for source in sources[1:]}, label, name))
            if with_chance:
                chance = entry["chance"].get(name)
                cells.append(number_cell(chance, None if chance is None else f"{chance:.2g}"))
            rows.append(cells)
    columns = [*sources[:1], "best baseline"] if narrow and len(sources) > 1 else sources
    heads = [Head("score", is_text=True), *(Head(column, descending=True) for column in columns)]
    return Table([*heads, Head("chance")] if with_chance else heads, rows)


def _score(of: Mapping[str, float | None] | None) -> Cell:
    if of is None or of["value"] is None:
        return number_cell(None)
    low, high = of["low"], of["high"]
    return number_cell(of["value"], number(of["value"], None if low is None or high is None else (high - low) / 2))


def _best_baseline(of: Mapping[str, Any], label: str, name: str) -> Cell:
    """Return the cell of the baseline with the best value, `pca 0.044`; the highest one if neither end is better."""
    values = {source: score["value"] for source, score in of.items() if score and score["value"] is not None}
    if not values:
        return number_cell(None)
    sign = better(f"metric/{label}/{name}") or 1
    source = max(values, key=lambda source: sign * values[source])
    best = _score(of[source])
    return replace(best, text=f"{source} {best.text.partition(' ')[0]}")  # the interval has no room


def needed_images(entries: Mapping[str, Any]) -> dict[str, int]:
    """Return how many images each metric needs that has fewer, by its label."""
    found = {}
    for label, entry in entries.items():
        N, population = entry["protocol"].get("samples"), entry["protocol"].get("population")
        enough = enough_images(label)
        if N is not None and min(enough, population or enough) > N:
            found[label] = enough
    return found


def few_images(needed: Mapping[str, int]) -> list[str]:
    """Return a line for each number of images in `needed`, with the metrics that need as many and have fewer."""
    lines = []
    for enough in sorted(set(needed.values())):
        whose = ", ".join(label for label, n in needed.items() if n == enough)
        lines.append(
            f"few images: {whose}: with fewer than {enough:,} images these scores may be more than 0.02 from those "
            "of all images, whatever their intervals are (docs/metrics.md)"
        )
    return lines


def failures(entries: Mapping[str, Any]) -> list[str]:
    """Return a line for each reason why scores are missing, with the metrics and sources that it applies to."""
    concerned: dict[str, list[str]] = {}
    for label, entry in entries.items():
        for reason in dict.fromkeys(entry["failed"].values()):
            sources = [source for source, why in entry["failed"].items() if why == reason]
            concerned.setdefault(reason, []).append(f"{label} ({', '.join(sources)})")
    return [f"{', '.join(whose)}: {reason}" for reason, whose in concerned.items()]
