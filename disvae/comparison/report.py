"""Write a comparison as one self-contained HTML file: tables, figures, traversals, failures and links to all runs."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from matplotlib.figure import Figure

from disvae.comparison import figures, udr
from disvae.comparison.groups import Comparison, Group, shown
from disvae.comparison.over_steps import first_groups, over_steps
from disvae.comparison.row import Row
from disvae.comparison.schedules import schedule_figure
from disvae.comparison.tables import (
    axis_heads,
    choices_table,
    collapse_of,
    found,
    groups_table,
    main_tag,
    reason,
    setting_cell,
    tag_head,
    too_few,
    trust,
)
from disvae.config import ConfigError
from disvae.pictures.html import Panels, Picture, data_address, picture, render, sentence
from disvae.pictures.style import plain_style
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run
from disvae.runs.provenance import now
from disvae.runs.settings import Setting
from disvae.runs.tables import Cell, Head, Table, number_cell
from disvae.runs.tags import better, is_shown, short
from disvae.system.imports import loading
from disvae.system.parallel import all_at_once

MOST_PANELS = 24
"""Most figures of one kind for each dataset; the tables hold all scores."""

MOST_COMMANDS = 6
MOST_FRONTS = 6


@plain_style()
def write_report(
    comparisons: Sequence[Comparison], path: Path, *, sort: str | None = None, with_traversals: bool = True
) -> None:
    """Write the report; the tag `sort` ranks the groups and chooses the best and the median run.

    Links to run folders are relative to the file. Only traversals need torch, the dataset and the checkpoints.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = [row for comparison in comparisons for row in comparison.rows]
    commands, times = _provenance(rows)
    commands = [shlex.join(sys.orig_argv), *commands]
    more = len(commands) - MOST_COMMANDS
    left = [f"({more} more in the provenance.json of the runs)"] if more > 0 else []
    page = render(
        "comparison/report.html.jinja",
        title=f"disvae: comparison of {len(rows)} {'run' if len(rows) == 1 else 'runs'}",
        found=[(each.dataset, found(each), collapse_of(each)) for each in comparisons],
        commands=commands[:MOST_COMMANDS] + left,
        started=min(times, default=""),
        now=now(),
        axes=list(dict.fromkeys(filter(None, map(figures.main_axis, comparisons)))),
        bands_from=figures.BANDS_FROM,
        most_points=figures.MOST_POINTS,
        sections=_Sections(comparisons, path.absolute().parent).all(sort, with_traversals),
    )
    write_atomically(path, page)


Part = Panels | str
"""Pictures, or a sentence about pictures that are left out."""


class _Sections:
    """The contents of all sections of the report."""

    def __init__(self, comparisons: Sequence[Comparison], folder: Path) -> None:
        self.comparisons = comparisons
        self.folder = folder

    def all(self, sort: str | None, with_traversals: bool) -> dict[str, list[tuple[str, Any]]]:
        """Return for each section the datasets that have content for it, with this content."""
        tags = [(each, main_tag(each, sort)) for each in self.comparisons]
        ranked = [(each, tag) for each, tag in tags if each.groups and tag is not None]
        tables: dict[str, list[tuple[str, Any]]] = {  # before the pictures: both use the same estimates
            "groups": [(each.dataset, _groups(each, tag)) for each, tag in tags],
            "without_result": [(each.dataset, listed) for each in self.comparisons for listed in self._listed(each)],
            "runs": [(each.dataset, self._runs(each)) for each in self.comparisons if each.finished],
        }
        draw: dict[str, Callable[[Comparison, str], Iterable[Any]]] = {
            "traversals": self._traversals if with_traversals else lambda comparison, tag: [],  # the longest one first
            "along": self._along,
            "steps": self._steps,
            "maps": self._maps,
            "fronts": self._fronts,
            "overlap": self._overlap,
            "codes": self._codes,
            "schedules": self._schedules,
            "choices": self._choices,
        }
        parts = [(name, each, tag) for name in draw for each, tag in ranked]

        def content_of(name: str, each: Comparison, tag: str) -> list[Any]:
            return list(draw[name](each, tag))

        contents = all_at_once([partial(content_of, *part) for part in parts])
        drawn: dict[str, list[tuple[str, Any]]] = {name: [] for name in draw}
        for (name, each, _), content in zip(parts, contents, strict=True):
            if content:
                drawn[name].append((each.dataset, content))
        return tables | drawn

    def _along(self, comparison: Comparison, sort: str) -> Iterator[Part]:
        tags = _drawn(comparison, sort)
        axis = figures.main_axis(comparison)
        if axis is None:
            if len(comparison.groups) < 2:
                return
            drawn = (
                (figures.ranking(comparison, tag, self._ends(comparison, tag)), f"{short(tag)} of each group")
                for tag in tags[:MOST_PANELS]
            )
            yield Panels([picture(figure, alt) for figure, alt in drawn])
        else:
            pages = figures.pages(figures.lines(comparison, axis))
            room = max(1, MOST_PANELS // len(pages))
            for i, chosen in enumerate(pages[:MOST_PANELS]):
                title = ""
                if len(pages) > 1:
                    same = {line.rest[:1] for line in chosen}
                    first = figures.Line(same.pop(), ()).label if len(same) == 1 else f"part {i + 1}"
                    title = f"{first} ({i + 1} of {len(pages)})"
                drawn = (
                    (figures.against(comparison, tag, axis, chosen, self._ends(comparison, tag)), short(tag))
                    for tag in tags[:room]
                )
                pictures = [picture(figure, f"{score} against {axis}") for figure, score in drawn]
                yield Panels(pictures, title, _key(chosen))
            tags = tags[room - MOST_PANELS :] if room < MOST_PANELS else tags
            if len(pages) > MOST_PANELS:
                yield f"{len(pages) - MOST_PANELS} more parts are not drawn; filter with SETTING=VALUE."
        yield from _left_out(len(_in_table(comparison, sort)) - min(len(tags), MOST_PANELS))

    def _maps(self, comparison: Comparison, sort: str) -> Iterator[Part]:
        of = figures.maps(comparison)
        if of is None:
            return
        tags = _drawn(comparison, sort)
        facets = of.facets[:MOST_PANELS]
        room = max(1, MOST_PANELS // len(facets))
        pictures = [
            picture(figure, f"{short(tag)} by {of.x} and {of.y}, {facet.label}")
            for tag in tags[:room]
            for facet in facets
            if (figure := figures.heat_map(comparison, tag, of, facet, figures.colour_ends(comparison, tag)))
        ]
        if pictures:
            yield Panels(pictures)
        yield from _left_out(len(_in_table(comparison, sort)) - min(len(tags), room))

    def _fronts(self, comparison: Comparison, sort: str) -> Iterator[Part]:
        tags = [t for t in _first(sort, comparison.tags) if t.startswith("metric") and better(t)]
        chosen, axis = _lines(comparison)
        drawn = [figures.front(comparison, "val/reconstruction", tag, chosen, axis) for tag in tags[:MOST_FRONTS]]
        yield from _with_key(chosen, [(each, "front of reconstruction and score") for each in drawn])

    def _overlap(self, comparison: Comparison, sort: str) -> Iterator[Part]:
        chosen, axis = _lines(comparison)
        drawn = [(figures.rate_distortion(comparison, chosen, axis), "rate and distortion")]
        for tag in ("val/structure/kl_qz_pz", "val/structure/total_correlation"):
            drawn.append((figures.overlap_structure(comparison, tag, chosen, axis), f"overlap and {short(tag)}"))
        yield from _with_key(chosen, drawn)

    def _steps(self, comparison: Comparison, sort: str) -> Iterator[Part]:
        groups = first_groups(comparison, sort)
        chosen = [figures.Line(_rest(comparison, group), (group,)) for group in groups]
        yield from _with_key(chosen, over_steps(chosen))
        if len(groups) < len(comparison.groups):
            yield f"Curves of the {len(groups)} best groups by {short(sort)} are drawn; filter with SETTING=VALUE."

    def _codes(self, comparison: Comparison, sort: str) -> Iterator[dict[str, Any]]:
        """Yield q(z) of the best seed of each group, from the run's own pictures, where the data are points."""
        for group in first_groups(comparison, sort):
            rows = sorted(group.rows, key=lambda row: -(better(sort) or 1) * row.metrics.get(sort, 0))
            found = [(row, Run(row.path).figures) for row in rows if row.path is not None]
            files = [(row, folder / "aggregate_posterior.png") for row, folder in found]
            row, file = next(((row, file) for row, file in files if file.is_file()), (None, None))
            if row is not None and file is not None and not (file.parent / "traversal.png").is_file():
                seed = shown(row.settings.get("seed"))
                of = Picture(data_address(file.read_bytes(), "png"), f"{group.name}, seed {seed}", 480)
                yield {"picture": of, "link": self._link(row)}

    def _traversals(self, comparison: Comparison, sort: str) -> Iterator[dict[str, Any]]:
        if not any(sort in row.metrics for row in comparison.finished):
            return
        with loading():
            from disvae.comparison.traversals import traversals

        for each in traversals(comparison, sort):
            if each.figure is not None and each.row is not None:
                yield {"picture": picture(each.figure, each.title, pixels=True), "link": self._link(each.row)}
            else:
                yield {"picture": None, "reason": each.reason}

    def _schedules(self, comparison: Comparison, sort: str) -> Iterator[Picture | str]:
        drawn = schedule_figure(comparison)
        if drawn.figure is not None:
            yield picture(drawn.figure, "weights over a run")
        yield from drawn.notes

    def _choices(self, comparison: Comparison, sort: str) -> Iterator[Table | str]:
        found = udr.choices(comparison.groups, sort)
        if not found:
            return
        yield choices_table(found, sort)
        yield from map(sentence, udr.conclusions(found, sort))

    def _listed(self, comparison: Comparison) -> Iterator[dict[str, Any]]:
        """Yield a table of the runs without a result, with reasons, for each kind: failed runs first."""
        kinds = {
            "failed": comparison.failed,
            "not finished": comparison.unfinished,
            "left out: the same configuration and seed as another run": comparison.repeated,
        }
        heads = [Head(name, is_text=name != "step") for name in ("run", "state", "step", "why")]
        for what, rows in kinds.items():
            cells = [
                [
                    self._run(row),
                    Cell("not started" if row.state == "new" else row.state, kind="text"),
                    Cell(str(row.step)),
                    Cell(reason(row), kind="reason", hint=row.error),
                ]
                for row in rows
            ]
            if cells:
                yield {"what": f"{len(rows)} {what}", "table": Table(heads, cells)}

    def _runs(self, comparison: Comparison) -> Table:
        """Return a table with a row for each finished run: its settings and all its values."""
        heads = [Head("run", is_text=True), *axis_heads(comparison), Head("seed"), Head("steps")]
        heads += [tag_head(tag) for tag in comparison.tags]
        rows = []
        for row in comparison.finished:
            cells = [self._run(row)]
            cells += [setting_cell(row.settings.get(axis, "")) for axis in comparison.axes]
            cells += [setting_cell(row.settings.get("seed", "")), Cell(str(row.step))]
            cells += [number_cell(row.metrics.get(tag)) for tag in comparison.tags]
            rows.append(cells)
        return Table(heads, rows)

    def _ends(self, comparison: Comparison, tag: str) -> tuple[float, float] | None:
        """Return the ends of a tag's axis: scores have one scale in all datasets, nats depend on the images."""
        return figures.limits(self.comparisons if tag.startswith("metric") else [comparison], tag)

    def _link(self, row: Row) -> str:
        """Return the link to a run's own page, or to its folder if it has no page."""
        assert row.path is not None
        page_of_run = Run(row.path).report
        place = page_of_run if os.path.isfile(page_of_run) else row.path
        return quote(Path(os.path.relpath(place.absolute(), self.folder)).as_posix())

    def _run(self, row: Row) -> Cell:
        return Cell(row.name, kind="text", link="" if row.path is None else self._link(row))


def _first(sort: str, tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([sort, *tags]))


def _in_table(comparison: Comparison, sort: str) -> list[str]:
    return [tag for tag in _first(sort, comparison.tags) if comparison.rank(tag)]


def _drawn(comparison: Comparison, sort: str) -> list[str]:
    """Return the tags that have pictures: those asked for, or the headline score of each metric, and terms."""
    tags = _in_table(comparison, sort)
    asked = list(comparison.tags) != comparison.headline
    return tags if asked else [tag for tag in tags if tag == sort or is_shown(tag)]


def _left_out(count: int) -> Iterator[str]:
    if count > 0:
        yield f"Not drawn: {count} more of the scores and terms in the table; choose some with metric=[...]."


def _lines(comparison: Comparison) -> tuple[list[figures.Line], str | None]:
    """Return the lines that colour the points of scatters, and the setting along which lines join them."""
    axis = figures.main_axis(comparison)
    if axis is not None:
        return figures.coarse(figures.lines(comparison, axis)), axis
    each = [figures.Line(_rest(comparison, group), (group,)) for group in comparison.groups]
    return figures.coarse(each), None


def _rest(comparison: Comparison, group: Group) -> tuple[tuple[str, Setting], ...]:
    return tuple((name, group.settings[name]) for name in comparison.axes if name in group.settings)


def _key(chosen: Sequence[figures.Line]) -> Picture | None:
    drawn = figures.key(chosen)
    return None if drawn is None else picture(drawn, "; ".join(line.label for line in chosen))


def _with_key(chosen: Sequence[figures.Line], drawn: Iterable[tuple[Figure | None, str]]) -> Iterator[Panels]:
    pictures = [picture(figure, alt) for figure, alt in drawn if figure is not None]
    if pictures:
        yield Panels(pictures, key=_key(chosen))


def _groups(comparison: Comparison, sort: str | None) -> dict[str, Any]:
    """Return the table of a dataset's groups and a sentence on how far to trust its order; none before a run ends."""
    if not comparison.groups or sort is None:
        return {"verdict": "", "table": None, "few_images": []}
    tags = _first(sort, comparison.tags)
    return {
        "verdict": trust(comparison, sort),
        "table": groups_table(comparison, tags, sort),
        "few_images": too_few(comparison, tags),
    }


def _provenance(rows: Iterable[Row]) -> tuple[list[str], list[str]]:
    """Return the commands that made the runs, each once, and the start times of their sessions."""
    commands: dict[str, None] = {}
    times = []
    for row in rows:
        try:
            sessions = Run(row.path).provenance().get("sessions", []) if row.path is not None else []
        except ConfigError:  # a damaged file: the run is listed as failed with the reason
            continue
        for session in sessions:
            commands.setdefault(str(session.get("command", "")))
            times.append(str(session.get("started", "")))
    return list(filter(None, commands)), list(filter(None, times))
