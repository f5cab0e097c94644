"""One self-contained HTML file of a comparison: tables, figures, traversals, what failed and where every number is."""

import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from matplotlib.figure import Figure

from disvae.comparison import figures, udr
from disvae.comparison.groups import Comparison, Group, Ranked, shown
from disvae.comparison.results import Row
from disvae.comparison.schedules import schedule_figure
from disvae.comparison.tables import found, main_tag, trust
from disvae.config import ConfigError
from disvae.pictures.html import Cell, Head, anchor, page, picture, section, table
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run, now
from disvae.runs.settings import Knob
from disvae.runs.tags import better, said, short
from disvae.runs.terminal import number
from disvae.system.imports import loading

MOST_PANELS = 24
"""Figures of one kind for each dataset; further scores have their columns in the tables."""

MOST_COMMANDS = 6
MOST_FRONTS = 6


def write_report(
    comparisons: Sequence[Comparison], path: Path, *, sort: str | None = None, with_traversals: bool = True
) -> None:
    """Write the report; groups are ranked, and the best and the median run chosen, by the tag `sort`.

    Links to run folders are relative to the file. Only traversals need torch, the dataset and the checkpoints.

    Raises:
        ConfigError: the file cannot be written.
    """
    report = _Report(comparisons, path, sort)
    parts = [
        report.groups(),
        report.along(),
        report.heat_maps(),
        report.fronts(),
        report.overlap(),
        report.traversals() if with_traversals else "",
        report.schedules(),
        report.choices(),
        report.without_result(),
        report.runs(),
    ]
    body = "\n".join([report.header(filter(None, parts)), *filter(None, parts)])
    write_atomically(path, page(report.title, body))


class _Report:
    """The report's sections, each with all datasets side by side."""

    def __init__(self, comparisons: Sequence[Comparison], path: Path, sort: str | None) -> None:
        self.comparisons = comparisons
        self.folder = path.absolute().parent
        self.sorts = [main_tag(comparison, sort) for comparison in comparisons]
        runs = sum(len(comparison.rows) for comparison in comparisons)
        self.title = f"disvae: comparison of {runs} {'run' if runs == 1 else 'runs'}"

    def header(self, parts: Iterable[str]) -> str:
        rows = [row for comparison in self.comparisons for row in comparison.rows]
        commands, times = _provenance(rows)
        said = [f"<h1>{escape(self.title)}</h1>"]
        said += [f"<p><b>{escape(each.dataset)}</b>: {escape(found(each))}</p>" for each in self.comparisons]
        if times:
            said.append(f'<p class="soft">first run started {escape(min(times))}; report of {escape(now())}</p>')
        commands = [shlex.join(sys.orig_argv), *commands]
        more = len(commands) - MOST_COMMANDS
        left = f"\n({more} more, in the runs' provenance.json)" if more > 0 else ""
        typed = "\n".join(map(escape, commands[:MOST_COMMANDS])) + left
        said.append(
            f"<details><summary>Commands: of this report, then of its runs</summary><pre>{typed}</pre></details>"
        )
        titles = [part.partition("<h2>")[2].partition("</h2>")[0] for part in parts]
        links = "".join(f'<a href="#{anchor(title)}">{title}</a>' for title in titles)
        return "\n".join([*said, f"<nav>{links}</nav>"])

    def groups(self) -> str:
        tables = []
        for comparison, sort in zip(self.comparisons, self.sorts, strict=True):
            if comparison.groups and sort is not None:
                verdict = trust(comparison, sort)
                said = f'<div class="verdict">{_sentence(verdict)}</div>' if verdict else ""
                tables.append(_name(comparison, self) + said + _groups_table(comparison, sort))
            else:
                tables.append(f"{_name(comparison, self)}<p>No finished run with values yet.</p>")
        caption = (
            "A row is a group: runs that differ in the seed alone. Mean over seeds ± half its 95 % interval (Student's "
            "t); of one seed, (±) is the interval of the images alone. ★ best mean of the column; ≈ not told apart "
            "from it by these seeds (Welch, 95 %). Grey rows: negative controls and chance, means over the runs. "
            "↑ higher is better, ↓ lower. A click on a heading sorts; pointing at a cell shows each seed's value."
        )
        return section("Groups", tables, caption)

    def along(self) -> str:
        parts = self._side_by_side(self._along_of)
        axes = dict.fromkeys(filter(None, map(figures.main_axis, self.comparisons)))
        caption = (
            "Large marks: means over seeds, joined along the knob; dots: the seeds. Band: 95 % interval of the mean "
            f"from {figures.BANDS_FROM} seeds on (of two seeds it is 13 times as wide as their distance: see the "
            "table); a very wide one is cut. Grey lines: negative controls and chance. A score has one scale in all "
            "datasets."
        )
        return section(f"Scores along {' and '.join(axes)}" if axes else "Scores", parts, caption)

    def _along_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        tags = [tag for tag in _first(sort, comparison.tags) if comparison.rank(tag)]
        axis = figures.main_axis(comparison)
        if axis is None:
            if len(comparison.groups) < 2:
                return
            yield _panels(
                picture(figures.ranking(comparison, tag, self._ends(comparison, tag)), f"{short(tag)} of each group")
                for tag in tags[:MOST_PANELS]
            )
        else:
            pages = figures.pages(figures.lines(comparison, axis))
            room = max(1, MOST_PANELS // len(pages))
            for i, chosen in enumerate(pages[:MOST_PANELS]):
                if len(pages) > 1:
                    same = {line.rest[:1] for line in chosen}
                    first = figures.Line(same.pop(), ()).label if len(same) == 1 else f"part {i + 1}"
                    yield f"<h3>{escape(first)} ({i + 1} of {len(pages)})</h3>"
                yield _key(chosen)
                yield _panels(
                    picture(
                        figures.against(comparison, tag, axis, chosen, self._ends(comparison, tag)),
                        f"{short(tag)} against {axis}",
                    )
                    for tag in tags[:room]
                )
            tags = tags[room - MOST_PANELS :] if room < MOST_PANELS else tags
            if len(pages) > MOST_PANELS:
                yield f"<p>{len(pages) - MOST_PANELS} more parts are not drawn; filter with KNOB=VALUE.</p>"
        yield _left_out(len(tags) - MOST_PANELS)

    def heat_maps(self) -> str:
        parts = self._side_by_side(self._maps_of)
        caption = (
            "Means over seeds; brighter is better where there is a better end. Same colours for the same score. "
            "n: seeds, where cells differ in their number. An empty cell has no finished run."
        )
        return section("Heat maps", parts, caption)

    def _maps_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        of = figures.maps(comparison)
        if of is None:
            return
        tags = [tag for tag in _first(sort, comparison.tags) if comparison.rank(tag)]
        facets = of.facets[:MOST_PANELS]
        room = max(1, MOST_PANELS // len(facets))
        yield _panels(
            picture(figure, f"{short(tag)} by {of.x} and {of.y}, {facet.label}")
            for tag in tags[:room]
            for facet in facets
            if (figure := figures.heat_map(comparison, tag, of, facet, figures.colour_ends(comparison, tag)))
        )
        yield _left_out(len(tags) - room)

    def fronts(self) -> str:
        parts = self._side_by_side(self._fronts_of)
        caption = (
            "Large marks: groups (means over seeds) with the value of the knob that joins them; dots: seeds (neither "
            f"where there are more than {figures.MOST_POINTS} groups). Grey steps: the Pareto front, through the "
            "groups that no other one beats in both. Left is better, and up or down as the score's arrow says."
        )
        return section("Reconstruction against disentanglement", parts, caption)

    def _fronts_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        tags = [t for t in _first(sort, comparison.tags) if t.startswith("metric") and better(t)]
        chosen, axis = _lines(comparison)
        drawn = [figures.front(comparison, "val/reconstruction", tag, chosen, axis) for tag in tags[:MOST_FRONTS]]
        yield from _with_key(chosen, [(each, "front of reconstruction and score") for each in drawn])

    def overlap(self) -> str:
        parts = self._side_by_side(self._overlap_of)
        caption = (
            "On validation images, in nats; marks as above. Rate: KL of q(z|x) to the prior, what a code costs; "
            "distortion: the reconstruction error; on a grey line the ELBO is the same, and down and left is better. "
            "Overlap: I(x;z), information codes carry of their image, falls as the encodings of images overlap. "
            "Structure: how far the aggregate posterior q(z) is from the prior, KL(q(z) ‖ p(z)), and its latents from "
            "independence, total correlation."
        )
        return section("Rate and distortion, overlap and structure", parts, caption)

    def _overlap_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        chosen, axis = _lines(comparison)
        drawn = [(figures.rate_distortion(comparison, chosen, axis), "rate and distortion")]
        for tag in ("val/structure/kl_qz_pz", "val/structure/total_correlation"):
            drawn.append((figures.overlap_structure(comparison, tag, chosen, axis), f"overlap and {short(tag)}"))
        yield from _with_key(chosen, drawn)

    def traversals(self) -> str:
        parts = self._side_by_side(self._traversals_of)
        caption = (
            "One latent at a time takes the quantiles of its prior, the others stay at a fixed image's code, the same "
            "image for every run. Rows: latents by their KL in nats, the most informative first; grey: not active. "
            "Framed: nearest to the image's own code."
        )
        return section("Traversals of the best and the median run", parts, caption)

    def _traversals_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        if not any(sort in row.metrics for row in comparison.finished):
            return
        with loading():
            from disvae.comparison.traversals import traversals

        for each in traversals(comparison, sort):
            if each.figure is not None and each.row is not None:
                link = f'<a href="{escape(self._link(each.row))}">{escape(each.title)}</a>'
                yield f"<p>{link}</p>{picture(each.figure, each.title, pixels=True)}"
            else:
                yield _sentence(each.reason)

    def schedules(self) -> str:
        parts = self._side_by_side(self._schedules_of)
        caption = "The weights of the objectives over a run, where they move; those that do not are named."
        return section("Schedules", parts, caption)

    def _schedules_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        drawn = schedule_figure(comparison)
        if drawn.figure is not None:
            yield picture(drawn.figure, "weights over a run")
        yield from (f"<p>{escape(note)}</p>" for note in drawn.notes)

    def choices(self) -> str:
        parts = self._side_by_side(self._choices_of)
        caption = (
            "UDR compares the seeds of a group with one another, without labels, and chooses the seed that agrees most "
            "with the others. Beside it: what the score that ranks would have chosen."
        )
        return section("Choice without labels", parts, caption)

    def _choices_of(self, comparison: Comparison, sort: str) -> Iterable[str]:
        found = udr.choices(comparison.groups, sort)
        if not found:
            return
        heads = [Head(head.replace("/", "\n"), is_text=head == "group") for head in udr.heads(sort)]
        yield table(
            heads, [[Cell(text, kind="" if i else "text") for i, text in enumerate(udr.cells(c))] for c in found]
        )
        yield from map(_sentence, udr.conclusions(found, sort))

    def without_result(self) -> str:
        parts = []
        for comparison in self.comparisons:
            listed = [
                ("failed", comparison.failed),
                ("not finished", comparison.unfinished),
                ("left out: the same configuration and seed as another run", comparison.repeated),
            ]
            for what, rows in listed:
                if rows:
                    heads = [
                        Head("run", is_text=True),
                        Head("state", is_text=True),
                        Head("step"),
                        Head("why", is_text=True),
                    ]
                    cells = [
                        [
                            self._run(row),
                            Cell("not started" if row.state == "new" else row.state, kind="text"),
                            Cell(str(row.step)),
                            Cell(_reason(row), kind="reason", hint=row.error),
                        ]
                        for row in rows
                    ]
                    parts.append(f"{_name(comparison, self)}<p>{len(rows)} {what}</p>{table(heads, cells)}")
        return section("Failed and unfinished", parts)

    def runs(self) -> str:
        parts = []
        for comparison in self.comparisons:
            if not comparison.finished:
                continue
            heads = [Head("run", is_text=True), *_axes(comparison), Head("seed"), Head("steps")]
            heads += [_head(tag) for tag in comparison.tags]
            rows = []
            for row in comparison.finished:
                cells = [self._run(row)]
                cells += [_knob(row.knobs.get(axis, "")) for axis in comparison.axes]
                cells += [_knob(row.knobs.get("seed", "")), Cell(str(row.step))]
                cells += [_value(row, tag) for tag in comparison.tags]
                rows.append(cells)
            parts.append(_name(comparison, self) + table(heads, rows))
        caption = (
            "Every number and the folder it comes from, whose metrics.json has it in full and whose scores.json says "
            "how it was made."
        )
        return section("Runs", parts, caption)

    def _side_by_side(self, draw: Callable[[Comparison, str], Iterable[str]]) -> list[str]:
        """What `draw` makes of each dataset, in columns where there are several."""
        parts = []
        for comparison, sort in zip(self.comparisons, self.sorts, strict=True):
            drawn = "\n".join(filter(None, draw(comparison, sort))) if sort is not None and comparison.groups else ""
            if drawn:
                parts.append(f"<div>{_name(comparison, self)}{drawn}</div>")
        return [f'<div class="side{" many" if len(parts) > 1 else ""}">{"".join(parts)}</div>'] if parts else []

    def _ends(self, comparison: Comparison, tag: str) -> tuple[float, float] | None:
        """Scores have one scale in all datasets; nats per image depend on the images."""
        return figures.limits(self.comparisons if tag.startswith("metric") else [comparison], tag)

    def _link(self, row: Row) -> str:
        """The run's own page where it has one, else its folder."""
        assert row.path is not None
        page_of_run = Run(row.path).report
        place = page_of_run if page_of_run.is_file() else row.path
        return quote(Path(os.path.relpath(place.absolute(), self.folder)).as_posix())

    def _run(self, row: Row) -> Cell:
        return Cell(row.name, kind="text", link="" if row.path is None else self._link(row))


def _reason(row: Row) -> str:
    if row.state == "killed" and not row.error:
        return "its process is gone; the same command goes on from its last checkpoint"
    return row.error.partition("\n")[0]


def _sentence(text: str) -> str:
    return f"<p>{escape(text[:1].upper() + text[1:])}.</p>"


def _name(comparison: Comparison, report: _Report) -> str:
    return f"<h3>{escape(comparison.dataset)}</h3>" if len(report.comparisons) > 1 else ""


def _first(sort: str, tags: Sequence[str]) -> list[str]:
    return list(dict.fromkeys([sort, *tags]))


def _panels(images: Iterable[str]) -> str:
    drawn = "\n".join(images)
    return f'<div class="panels">{drawn}</div>' if drawn else ""


def _left_out(count: int) -> str:
    return f"<p>{count} more scores and terms are not drawn; choose with metric=[...].</p>" if count > 0 else ""


def _lines(comparison: Comparison) -> tuple[list[figures.Line], str | None]:
    """What colours the points of scatters, and the knob that joins them."""
    axis = figures.main_axis(comparison)
    if axis is not None:
        return figures.coarse(figures.lines(comparison, axis)), axis
    each = [figures.Line(_rest(comparison, group), (group,)) for group in comparison.groups]
    return figures.coarse(each), None


def _rest(comparison: Comparison, group: Group) -> tuple[tuple[str, Knob], ...]:
    return tuple((name, group.knobs[name]) for name in comparison.axes if name in group.knobs)


def _key(chosen: Sequence[figures.Line]) -> str:
    drawn = figures.key(chosen)
    return "" if drawn is None else f"<div>{picture(drawn, '; '.join(line.label for line in chosen))}</div>"


def _with_key(chosen: Sequence[figures.Line], drawn: Iterable[tuple[Figure | None, str]]) -> Iterable[str]:
    images = [picture(figure, alt) for figure, alt in drawn if figure is not None]
    if images:
        yield _key(chosen)
        yield _panels(images)


def _head(tag: str) -> Head:
    return Head(figures.titled(tag).replace("/", "\n"), descending=better(tag) >= 0, hint=f"{tag}: {said(tag)}")


def _axes(comparison: Comparison) -> list[Head]:
    return [Head(axis, is_text=axis not in comparison.numeric) for axis in comparison.axes]


def _knob(value: Knob) -> Cell:
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(shown(value), repr(value) if numeric else None, "" if numeric else "text")


def _value(row: Row, tag: str) -> Cell:
    value = row.metrics.get(tag)
    if value is None:
        return Cell("", "")
    return Cell(f"{value:.4g}", repr(value))


def _groups_table(comparison: Comparison, sort: str) -> str:
    tags = _first(sort, comparison.tags)
    places = {tag: {id(each.group): each for each in comparison.rank(tag)} for tag in tags}
    heads = [Head("#"), *(_axes(comparison) or [Head("group", is_text=True)]), Head("seeds"), *map(_head, tags)]
    ranked = [each.group for each in comparison.rank(sort)]
    ranked += [group for group in comparison.groups if id(group) not in places[sort]]
    rows = []
    for group in ranked:
        place = places[sort].get(id(group))
        cells = [Cell(str(place.place) if place and better(sort) else "")]
        cells += [_knob(group.knobs.get(axis, "")) for axis in comparison.axes] or [Cell(group.name, kind="text")]
        cells += [Cell(str(len(group.rows)), hint=f"seeds {', '.join(map(shown, group.seeds))}")]
        cells += [_estimate(group, tag, places[tag].get(id(group))) for tag in tags]
        rows.append(cells)
    levels = {tag: comparison.controls(tag) for tag in tags}
    references = []
    for source in dict.fromkeys(source for of_tag in levels.values() for source in of_tag):
        cells = [Cell(""), Cell(source, kind="text"), *[Cell("")] * max(1, len(comparison.axes))]
        cells += [Cell(f"{of[source]:.4g}", repr(of[source])) if source in of else Cell("") for of in levels.values()]
        references.append(cells)
    return table(heads, rows, references)


def _estimate(group: Group, tag: str, place: Ranked | None) -> Cell:
    if place is None:
        return Cell("", "")
    of = place.estimate
    images = group.error(tag)
    if of.half is None and images is not None:
        mean, half = number(of.mean, images).split(" ")
        text = f"{mean} ({half})"
    else:
        text = number(of.mean, of.half)
    text += f" n={of.n}" if of.n < len(group.rows) else ""
    best = better(tag) != 0 and place.place == 1
    mark = "★" if best else "≈" if better(tag) and place.told_apart is False else ""
    hint = "seeds: " + ", ".join(f"{value:.4g}" for value in of.values)
    return Cell(f"{text} {mark}".strip(), repr(of.mean), "best" if best else "", hint)


def _provenance(rows: Iterable[Row]) -> tuple[list[str], list[str]]:
    """The commands that made the runs, each once, and when their sessions began."""
    commands: dict[str, None] = {}
    times = []
    for row in rows:
        try:
            sessions = Run(row.path).provenance().get("sessions", []) if row.path is not None else []
        except ConfigError:  # a damaged file: the run's state says what is wrong with it
            continue
        for session in sessions:
            commands.setdefault(str(session.get("command", "")))
            times.append(str(session.get("started", "")))
    return list(filter(None, commands)), list(filter(None, times))
