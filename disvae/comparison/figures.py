"""Figures of a comparison: scores against a setting, heat maps, fronts, rate and distortion, overlap and structure.

Each function draws one panel and returns its Figure. All panels of a page have the same size and the same colours.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from disvae.comparison.groups import Comparison, Estimate, Group, shown
from disvae.comparison.row import Row
from disvae.runs.settings import Setting
from disvae.runs.tags import better, short, titled

SERIES_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours of Okabe and Ito, which colour-blind readers can tell apart."""

MARKERS = "os^Dvp*"
MOST_LINES = len(SERIES_COLOURS)
BANDS_FROM = 3
"""Smallest number of seeds with a band: for two, Student's interval is 13 times as wide as their distance."""

MOST_POINTS = 24
"""Most groups for which a scatter also shows the seeds and the values of the setting."""

MOST_RANKED = 30
SIZE = (4.6, 3.5)  # inches


@dataclass(frozen=True)
class Line:
    """Groups that differ only along the axis, sorted along it; `rest` holds their other settings that vary."""

    rest: tuple[tuple[str, Setting], ...]
    groups: tuple[Group, ...]
    joined: bool = True  # one group for each value: a line joins them

    @property
    def label(self) -> str:
        """Return the name of the line, such as `objective=beta_tc, alpha=0`."""
        return ", ".join(f"{name}={shown(value)}" for name, value in self.rest)


def main_axis(comparison: Comparison) -> str | None:
    """Return the setting of the horizontal axis: the first numeric one that varies; None if there is none."""
    return next(iter(comparison.numeric), None)


def lines(comparison: Comparison, axis: str) -> list[Line]:
    """Return a line for each combination of values of the other axes, in the order of the groups."""
    found: dict[tuple[tuple[str, Setting], ...], list[Group]] = {}
    others = [name for name in comparison.axes if name != axis]
    for group in comparison.groups:
        key = tuple((name, group.settings[name]) for name in others if name in group.settings)
        found.setdefault(key, []).append(group)
    return [Line(rest, tuple(sorted(groups, key=lambda g: _value(g, axis)))) for rest, groups in found.items()]


def _value(group: Group, axis: str) -> float:
    value = group.settings.get(axis)
    return float(value) if isinstance(value, (int, float)) else -math.inf


def pages(found: Sequence[Line]) -> list[list[Line]]:
    """Return the lines in sets of at most MOST_LINES: one set for each value of the first setting if possible."""
    if len(found) <= MOST_LINES:
        return [list(found)]
    by_first: dict[object, list[Line]] = {}
    for line in found:
        by_first.setdefault(line.rest[:1], []).append(line)
    if len(by_first) > 1 and max(map(len, by_first.values())) <= MOST_LINES:
        return list(by_first.values())
    size = math.ceil(len(found) / math.ceil(len(found) / MOST_LINES))
    return [list(found[start : start + size]) for start in range(0, len(found), size)]


def coarse(found: Sequence[Line]) -> list[Line]:
    """Return at most MOST_LINES lines to colour points by; more lines are merged by the first setting, or all."""
    if len(found) <= MOST_LINES:
        return list(found)
    merged: dict[tuple[tuple[str, Setting], ...], list[Group]] = {}
    for line in found:
        merged.setdefault(line.rest[:1], []).extend(line.groups)
    if len(merged) > MOST_LINES:
        merged = {(): [group for line in found for group in line.groups]}
    return [Line(rest, tuple(groups), joined=False) for rest, groups in merged.items()]


def unit(tag: str) -> str:
    """Return the unit of a tag's values; empty for scores without a unit."""
    name = tag.rpartition("/")[2]
    if tag.startswith("metric"):
        label = tag.split("/")[1].partition("-")[0]
        in_nats = label in ("log_likelihood", "aggregate_posterior", "gaussian_tc") or tag.endswith("jemmig/jemmig")
        return "nats" if in_nats and name != "mmd" else ""
    if name in ("elbo", "reconstruction", "kl", "loss"):
        return "nats per image"
    return "nats" if "/overlap/" in tag or ("/structure/" in tag and name != "mmd") else ""


def labelled(tag: str) -> str:
    """Return the axis label of a tag: its name, the arrow of its better end, and its unit."""
    return f"{titled(tag)} ({unit(tag)})" if unit(tag) else titled(tag)


def limits(comparisons: Iterable[Comparison], tag: str) -> tuple[float, float] | None:
    """Return the ends of a tag's axis, which holds all seeds of all groups, baselines and chance; None without values.

    Confidence bands may at most double the axis; a wider band is cut, which already shows that it is wide.
    """
    values: list[float] = []
    bands: list[float] = []
    for comparison in comparisons:
        for group in comparison.groups:
            of = group.estimate(tag)
            if of is not None:
                values += of.values
                if _banded(of):
                    bands += [v for v in (of.low, of.high) if v is not None]
        values += comparison.controls(tag).values()
    if not values:
        return None
    low, high = min(values), max(values)
    room = (high - low) / 2
    return _padded(max(min([low, *bands]), low - room), min(max([high, *bands]), high + room))


def _padded(low: float, high: float) -> tuple[float, float]:
    room = 0.06 * (high - low) or 0.05 * abs(high) or 0.05
    return low - room, high + room


def _banded(of: Estimate) -> bool:
    return of.n >= BANDS_FROM


def against(
    comparison: Comparison,
    tag: str,
    axis: str,
    chosen: Sequence[Line],
    ends: tuple[float, float] | None = None,
) -> Figure:
    """Return a tag against `axis`: a line through means over seeds, dots for seeds, 95 % confidence intervals as bands.

    Grey lines are baselines and chance; a dashed line is a group that does not have the setting.
    """
    figure, axes = panel(right=0.82 if comparison.controls(tag) else 0.96)
    for i, line in enumerate(chosen):
        colour, marker = SERIES_COLOURS[i % len(SERIES_COLOURS)], MARKERS[i % len(MARKERS)]
        found = [(group, of) for group in line.groups if (of := group.estimate(tag)) is not None]
        points = [(_value(group, axis), of) for group, of in found if axis in group.settings]
        for group, of in found:
            if axis not in group.settings:
                axes.axhline(of.mean, color=colour, linestyle="--", linewidth=1.5)
        if not points:
            continue
        x = [value for value, _ in points]
        axes.plot(
            x, [of.mean for _, of in points], color=colour, marker=marker, markersize=5, linewidth=1.8, label=line.label
        )
        for value, of in points:
            if of.n > 1:
                axes.plot([value] * of.n, of.values, color=colour, marker=".", markersize=7, linestyle="", alpha=0.5)
        _bands(axes, points, colour, 0.18 if len(chosen) <= 3 else 0.08)
    _scale_x(axes, comparison, axis)
    axes.set_ylim(ends or limits([comparison], tag) or (0, 1))
    _levels(axes, comparison.controls(tag))
    _title(axes, titled(tag))
    axes.set_xlabel(axis)
    axes.set_ylabel(unit(tag) or "score")
    return figure


def ranking(comparison: Comparison, tag: str, ends: tuple[float, float] | None = None) -> Figure:
    """Return the best MOST_RANKED groups by a tag, best first: means, seeds and 95 % intervals, without an axis."""
    ranked = comparison.rank(tag)[:MOST_RANKED]
    figure = Figure(figsize=(SIZE[0] + 1, max(1.8, 0.28 * len(ranked) + 1.1)), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    for row, each in enumerate(ranked):
        of = each.estimate
        if _banded(of) and of.low is not None and of.high is not None:
            axes.plot([of.low, of.high], [row, row], color=SERIES_COLOURS[0], linewidth=1.5)
        axes.plot(of.values, [row] * of.n, color=SERIES_COLOURS[0], marker=".", linestyle="", alpha=0.5)
        axes.plot(of.mean, row, color=SERIES_COLOURS[0], marker="o", markersize=6)
    axes.set_yticks(range(len(ranked)), [each.group.name for each in ranked], fontsize=8)
    axes.set_ylim(len(ranked) - 0.4, -0.6)
    axes.set_xlim(ends or limits([comparison], tag) or (0, 1))
    for name, value in comparison.controls(tag).items():
        axes.axvline(value, color="0.6", linewidth=1, linestyle=":" if name == "chance" else "-", zorder=1)
        axes.annotate(name, (value, 1), xycoords=("data", "axes fraction"), rotation=60, fontsize=7, color="0.35")
    axes.set_xlabel(unit(tag) or "score")
    _title(axes, titled(tag), pad=30 if comparison.controls(tag) else 6)
    return figure


def _bands(axes: Axes, points: Sequence[tuple[float, Estimate]], colour: str, alpha: float) -> None:
    x = [value for value, _ in points]
    low = [of.low if _banded(of) and of.low is not None else math.nan for _, of in points]
    high = [of.high if _banded(of) and of.high is not None else math.nan for _, of in points]
    axes.fill_between(x, low, high, color=colour, alpha=alpha, linewidth=0)
    for value, a, b in zip(x, low, high, strict=True):  # a band between two gaps has no width
        axes.plot([value, value], [a, b], color=colour, linewidth=1, alpha=0.5)


def _levels(axes: Axes, levels: Mapping[str, float]) -> None:
    """Draw grey lines with names on the right; move names apart that would overlap."""
    low, high = axes.get_ylim()
    least = 0.065 * (high - low)
    names = sorted(levels.items(), key=lambda item: item[1])
    places: list[float] = []
    for _, value in names:
        places.append(max(value, places[-1] + least) if places else value)
    over = places[-1] - high if places else 0
    if over > 0:
        places = [min(place, high - least * (len(places) - 1 - i)) for i, place in enumerate(places)]
    beside = axes.get_yaxis_transform()  # x as a share of the panel, y in values
    for (name, value), place in zip(names, places, strict=True):
        axes.axhline(value, color="0.6", linewidth=1, linestyle=":" if name == "chance" else "-", zorder=1)
        axes.plot([1, 1.03], [value, place], color="0.7", linewidth=0.7, transform=beside, clip_on=False)
        axes.text(1.04, place, name, fontsize=8, color="0.35", va="center", transform=beside)


def spread_geometrically(values: Sequence[float]) -> bool:
    """Return whether a logarithmic axis suits: the ratios of the values vary less than their differences."""
    found = np.unique([value for value in values if value > 0])
    if len(found) < 3 or min(values) < 0 or found[-1] / found[0] < 5:
        return False
    gaps, ratios = np.diff(found), np.diff(np.log(found))
    return bool(ratios.std() / ratios.mean() < gaps.std() / gaps.mean())


def _scale_x(axes: Axes, comparison: Comparison, axis: str) -> None:
    values = [float(v) for v in comparison.axes[axis] if isinstance(v, (int, float))]
    if spread_geometrically(values):
        positive = min(value for value in values if value > 0)
        if min(values) == 0:
            axes.set_xscale("symlog", linthresh=positive, linscale=0.5)
        else:
            axes.set_xscale("log")
    if len(values) <= 8:
        axes.set_xticks(values, [shown(value) for value in values])
    axes.minorticks_off()


def _title(axes: Axes, text: str, pad: float = 6) -> None:
    """Write the title in letters small enough to fit the panel."""
    longest = max(map(len, text.splitlines()))
    axes.set_title(text, loc="left", fontsize=min(11, 11 * 40 / longest), pad=pad)


def panel(right: float = 0.96) -> tuple[Figure, Axes]:
    """Return a panel with fixed margins: all panels are alike, and a fitted layout would take twice the time."""
    figure = Figure(figsize=SIZE)
    axes = figure.add_subplot()
    figure.subplots_adjust(left=0.17, right=right, top=0.91, bottom=0.14)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def key(chosen: Sequence[Line]) -> Figure | None:
    """Return the legend of the lines for all panels that show them; None for fewer than two lines."""
    if len(chosen) < 2:
        return None
    handles = [
        Line2D(
            [],
            [],
            color=SERIES_COLOURS[i % len(SERIES_COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            label=line.label or "others",
        )
        for i, line in enumerate(chosen)
    ]
    widest = max(len(line.label) for line in chosen)
    columns = max(1, min(len(chosen), 90 // (widest + 8)))
    rows = math.ceil(len(chosen) / columns)
    figure = Figure(figsize=(0.095 * (widest + 8) * columns, 0.25 * rows + 0.1))
    figure.legend(handles=handles, ncols=columns, loc="center", frameon=False, fontsize=10)
    return figure


@dataclass(frozen=True)
class Maps:
    """The layout of heat maps: setting `x` in columns, `y` in rows, and a map for each value of the other axes."""

    x: str
    y: str
    facets: tuple[Line, ...]


def maps(comparison: Comparison) -> Maps | None:
    """Return the layout with the first two numeric settings that vary, usually beta and alpha; None without two."""
    if len(comparison.numeric) < 2:
        return None
    x, y = comparison.numeric[:2]
    found: dict[tuple[tuple[str, Setting], ...], list[Group]] = {}
    for group in comparison.groups:
        if x in group.settings and y in group.settings:
            rest = tuple((n, group.settings[n]) for n in comparison.axes if n not in (x, y) and n in group.settings)
            found.setdefault(rest, []).append(group)
    facets = [Line(rest, tuple(groups)) for rest, groups in found.items()]
    crossed = [f for f in facets if all(len({g.settings[name] for g in f.groups}) > 1 for name in (x, y))]
    return Maps(x, y, tuple(crossed)) if crossed else None


def heat_map(
    comparison: Comparison, tag: str, of: Maps, facet: Line, ends: tuple[float, float] | None = None
) -> Figure | None:
    """Return a map of means over seeds, brighter is better, with n if cells differ in it; None without values."""
    found = {
        (_value(group, of.x), _value(group, of.y)): estimate
        for group in facet.groups
        if (estimate := group.estimate(tag)) is not None
    }
    if not found:
        return None
    columns, rows = (sorted({_value(group, name) for group in facet.groups}) for name in (of.x, of.y))
    values = np.full((len(rows), len(columns)), np.nan)
    for (x, y), estimate in found.items():
        values[rows.index(y), columns.index(x)] = estimate.mean
    low, high = ends or (float(np.nanmin(values)), float(np.nanmax(values)))
    colours = colormaps[{1: "viridis", -1: "viridis_r", 0: "cividis"}[better(tag)]]
    scale = Normalize(low, high if high > low else low + 1)
    width, height = max(SIZE[0], 0.75 * len(columns) + 1.7), max(2.2, 0.5 * len(rows) + 1.4)
    figure = Figure(figsize=(width, height))
    above = 0.5 if facet.label else 0.3  # inches, for the title; a fitted layout would take half of the time to draw
    axes = figure.add_axes((0.7 / width, 0.5 / height, 1 - 1.8 / width, 1 - (0.5 + above) / height))
    beside = figure.add_axes((1 - 0.95 / width, 0.5 / height, 0.15 / width, 1 - (0.5 + above) / height))
    image = axes.imshow(values, cmap=colours, norm=scale, origin="lower", aspect="auto")
    axes.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    axes.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    differ = len({group.estimate(tag).n for group in facet.groups if group.estimate(tag)}) > 1  # type: ignore[union-attr]
    if len(columns) <= 14 and len(rows) <= 20:
        for (x, y), estimate in found.items():
            r, g, b, _ = colours(scale(estimate.mean))
            dark = 0.299 * r + 0.587 * g + 0.114 * b < 0.5
            said = f"{estimate.mean:.3g}" + (f"\nn={estimate.n}" if differ else "")
            place = columns.index(x), rows.index(y)
            axes.text(*place, said, ha="center", va="center", fontsize=8, color="white" if dark else "black")
    figure.colorbar(image, cax=beside, label=unit(tag) or "score")
    _title(axes, "\n".join(filter(None, [titled(tag), facet.label])))
    axes.set_xlabel(of.x)
    axes.set_ylabel(of.y)
    return figure


def colour_ends(comparison: Comparison, tag: str) -> tuple[float, float] | None:
    """Return the least and the greatest mean of a tag, so that all its maps have one scale; None without values."""
    means = [of.mean for group in comparison.groups if (of := group.estimate(tag)) is not None]
    return (min(means), max(means)) if means else None


def front(comparison: Comparison, x: str, y: str, chosen: Sequence[Line], axis: str | None) -> Figure | None:
    """Return a scatter of groups and seeds over two tags, with the Pareto front; both tags need a better end.

    Return None if fewer than two groups have both tags.
    """
    figure, axes = panel()
    if _scatter(axes, comparison, x, y, chosen, axis) < 2:
        return None
    best = [(a.mean, b.mean) for g in comparison.front(x, y) if (a := g.estimate(x)) and (b := g.estimate(y))]
    x_of, y_of = zip(*best, strict=True)
    axes.plot(x_of, y_of, drawstyle="steps-post", color="0.85", linewidth=7, zorder=0.5, label="Pareto front")
    _title(axes, titled(y))
    axes.set_xlabel(labelled(x))
    axes.set_ylabel(unit(y) or "score")
    return figure


def rate_distortion(comparison: Comparison, chosen: Sequence[Line], axis: str | None) -> Figure | None:
    """Return a scatter of KL (rate) and reconstruction error (distortion), nats per image, with lines of equal ELBO."""
    figure, axes = panel(right=0.91)
    if not _scatter(axes, comparison, "val/kl", "val/reconstruction", chosen, axis):
        return None
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    step = _round_step((right + top - left - bottom) / 6)
    for loss in np.arange(math.ceil((left + bottom) / step) * step, right + top, step):
        axes.plot([left, right], [loss - left, loss - right], color="0.75", linewidth=0.8, zorder=0, label="equal ELBO")
        x = min(right, loss - bottom)  # the point at which the line leaves the panel
        if x > left and loss - x < top:
            at_right = x == right
            axes.annotate(
                f"{0 - round(loss, 9):g}",
                (x, loss - x),
                xytext=(3, 0) if at_right else (2, 3),
                textcoords="offset points",
                va="center" if at_right else "bottom",
                color="0.45",
                fontsize=7,
            )
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.set_xlabel("rate: KL(q(z|x) ‖ p(z)) (nats per image)")
    axes.set_ylabel("distortion: -log p(x|z) (nats per image)")
    _title(axes, "rate and distortion; grey: equal ELBO")
    return figure


def _round_step(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def overlap_structure(
    comparison: Comparison, structure: str, chosen: Sequence[Line], axis: str | None
) -> Figure | None:
    """Return a scatter of I(x;z), which falls as encodings overlap, and the tag `structure` of q(z); both in nats."""
    figure, axes = panel()
    overlap = "val/overlap/mutual_information"
    if not _scatter(axes, comparison, overlap, structure, chosen, axis):
        return None
    names = {"kl_qz_pz": "KL(q(z) ‖ p(z))", "total_correlation": "TC of q(z)"}
    axes.set_xlabel("I(x;z) (nats): lower means more overlap")
    axes.set_ylabel(f"{names.get(short(structure), short(structure))} (nats)")
    _title(axes, f"overlap and {short(structure)} ↓")
    return figure


def _pair(row: Row, x: str, y: str) -> tuple[float, float]:
    return row.metrics.get(x, math.nan), row.metrics.get(y, math.nan)


def _scatter(axes: Axes, comparison: Comparison, x: str, y: str, chosen: Sequence[Line], axis: str | None) -> int:
    """Draw groups as large marks with their value of `axis`, and seeds as small marks; return the number of groups."""
    seeds: list[tuple[float, float]] = []
    drawn = 0
    few = sum(len(line.groups) for line in chosen) <= MOST_POINTS
    for i, line in enumerate(chosen):
        colour, marker = SERIES_COLOURS[i % len(SERIES_COLOURS)], MARKERS[i % len(MARKERS)]
        means = []
        for group in line.groups:
            of_x, of_y = group.estimate(x), group.estimate(y)
            if of_x is None or of_y is None:
                continue
            means.append((of_x.mean, of_y.mean))
            runs = [pair for row in group.rows if all(map(math.isfinite, pair := _pair(row, x, y)))]
            seeds += [*(runs if few else []), means[-1]]
            if few and len(runs) > 1:
                axes.plot(*zip(*runs, strict=True), color=colour, marker=".", markersize=7, linestyle="", alpha=0.4)
            if few and axis in group.settings:
                axes.annotate(
                    shown(group.settings[str(axis)]),
                    means[-1],
                    xytext=(5, 4),
                    textcoords="offset points",
                    fontsize=8,
                    color=colour,
                )
        if means:
            x_of, y_of = zip(*means, strict=True)
            width, alpha = (1, 1) if line.joined else (0, 0.7)
            axes.plot(
                x_of, y_of, color=colour, marker=marker, markersize=6, linewidth=width, alpha=alpha, label=line.label
            )
        drawn += len(means)
    if seeds:
        columns = list(zip(*seeds, strict=True))
        axes.set_xlim(_padded(min(columns[0]), max(columns[0])))
        axes.set_ylim(_padded(min(columns[1]), max(columns[1])))
    return drawn
