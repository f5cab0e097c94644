"""A comparison in the terminal and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from disvae.comparison import udr
from disvae.comparison.groups import Comparison, Group, Ranked, shown
from disvae.comparison.results import Row
from disvae.runs.atomic import write_atomically
from disvae.runs.tags import better, said, short, without_labels
from disvae.runs.terminal import number

LISTED = 20
"""Runs without a result that the terminal shows; the report and the CSV have all."""


def columns(comparison: Comparison, chosen: Sequence[str], sort: str) -> list[str]:
    """The tags to show: `sort` first, then the chosen ones that there are, or a few scores and terms."""
    if chosen:
        return [tag for tag in dict.fromkeys([sort, *chosen]) if comparison.rank(tag)]
    firsts: dict[str, str] = {}
    for tag in sorted(comparison.headline, key=lambda tag: not better(tag)):  # of a metric a score to go by
        firsts.setdefault(tag.rpartition("/")[0] if tag.startswith("metric/") else tag, tag)
    scores = [tag for tag in comparison.headline if tag.startswith("metric/") and tag in firsts.values()][:3]
    terms = ["val/reconstruction", "val/overlap/mutual_information", "val/structure/total_correlation"]
    rest = [tag for tag in firsts.values() if tag not in scores + terms]
    there = [tag for tag in [*scores, *terms, *rest] if tag in comparison.headline]
    return list(dict.fromkeys([sort, *there]))


def main_tag(comparison: Comparison, wanted: str | None = None) -> str | None:
    """What groups are ranked by, of what any has and has a better end unless it is `wanted`: the first score by labels,
    the ELBO, then anything.
    """
    if wanted is not None and comparison.rank(wanted):
        return wanted
    by_labels = [tag for tag in comparison.tags if tag.startswith("metric") and not without_labels(tag)]
    candidates = (*by_labels, "val/elbo", *comparison.tags, *comparison.headline)
    return next((tag for tag in candidates if better(tag) and comparison.rank(tag)), None)


def print_comparison(comparison: Comparison, chosen: Sequence[str], sort: str | None, screen: Console) -> None:
    """What was found, the groups best first with reference lines, and the runs that have no result and why."""
    screen.print(f"\n[bold]{escape(comparison.dataset)}[/]: {found(comparison)}", highlight=False, soft_wrap=True)
    sort = main_tag(comparison, sort)
    if not comparison.groups:
        screen.print("no finished run: nothing to compare yet", highlight=False)
    elif sort is None:
        screen.print("the finished runs have no scores or terms to compare", highlight=False)
    else:
        _print_groups(comparison, chosen, sort, screen)
    _print_without_result("failed", comparison.failed, screen)
    _print_without_result("not finished", comparison.unfinished, screen)
    _print_without_result("left out, the same knobs and seed as another run", comparison.repeated, screen)


def found(comparison: Comparison) -> str:
    """How many runs there are and in which state: `16 runs: 12 finished in 6 groups, 3 running, 1 failed`."""
    counts: dict[str, int] = {}
    for row in comparison.rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    first = f"{counts.pop('finished', 0)} finished"
    if comparison.groups:
        first += f" in {_counted(len(comparison.groups), 'group')}"
    states = [f"{n} {'not started' if state == 'new' else state}" for state, n in counts.items()]
    return f"{_counted(len(comparison.rows), 'run')}: {', '.join([first, *states])}"


def trust(comparison: Comparison, sort: str) -> str:
    """Whether these seeds tell the first group by `sort` from the others; nothing where neither end is better."""
    others = comparison.rank(sort)[1:]
    if not others or not better(sort):
        return ""
    known = [each.told_apart for each in others if each.told_apart is not None]
    what = f"by {short(sort)} the first group is"
    if not known:
        return f"{what} told apart from no other: that takes two seeds of each, better three or more"
    if not any(known):
        return f"{what} told apart from no other: do not rely on this order; more seeds may tell"
    unknown = f"; of {len(others) - len(known)} not known, one seed each" if len(known) < len(others) else ""
    return f"{what} told apart from {sum(known)} of {len(others)} others{unknown}"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _print_groups(comparison: Comparison, chosen: Sequence[str], sort: str, screen: Console) -> None:
    tags = columns(comparison, chosen, sort)
    ranks = {tag: {id(ranked.group): ranked for ranked in comparison.rank(tag)} for tag in tags}
    table = _table(comparison, tags, sort, ranks)
    while not chosen and len(tags) > 1 and _width(table, screen) > screen.width:
        tags = tags[:-1]
        table = _table(comparison, tags, sort, ranks)
    width, screen.width = screen.width, max(screen.width, _width(table, screen))  # what was asked for is never cut
    screen.print(table)
    screen.width = width
    few = [group for group in comparison.groups if len(group.rows) == 1]
    lines = [f"by {short(sort)}, {said(sort)}; mean over seeds ± half the 95 % interval (Student's t)"]
    if len(few) < len(comparison.groups):
        lines.append("* best mean of its column   ≈ not told apart from it by these seeds (Welch, 95 %)")
    else:
        lines.append("* best of its column")
    lines += filter(None, [trust(comparison, sort)])
    if few:
        whose = "groups of one seed" if len(few) < len(comparison.groups) else "every group has one seed"
        lines.append(f"{whose}: (±) is the interval of the images, not of seeds; another seed may change the order")
    if any(
        estimate.n < len(group.rows) for tag in tags for group in comparison.groups if (estimate := group.estimate(tag))
    ):
        lines.append("n=: as many seeds have this value")
    left = [short(tag) for tag in comparison.headline if tag not in tags]
    if left and not chosen:
        lines.append(f"more columns with metric=[...]: {', '.join(left)}")
    for line in lines:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _width(table: Table, screen: Console) -> int:
    """That its longest lines need."""
    return Measurement.get(screen, screen.options.update(width=10_000), table).maximum


def _table(comparison: Comparison, tags: Sequence[str], sort: str, ranks: Mapping[str, Mapping[int, Ranked]]) -> Table:
    table = Table(box=SIMPLE_HEAD)
    table.add_column("#", justify="right", no_wrap=True)
    for axis in comparison.axes or ["runs"]:
        table.add_column(axis, no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for tag in tags:
        arrow = {1: "↑", -1: "↓", 0: ""}[better(tag)]
        table.add_column(f"{short(tag).replace('/', chr(10))} {arrow}".rstrip(), justify="right", no_wrap=True)
    with_sort = [ranked.group for ranked in ranks[sort].values()]
    ordered = with_sort + [group for group in comparison.groups if id(group) not in ranks[sort]]
    for group in ordered:
        place = ranks[sort].get(id(group))
        knobs = [escape(shown(group.knobs[axis])) if axis in group.knobs else "" for axis in comparison.axes]
        cells = []
        for tag in tags:
            ranked = ranks[tag].get(id(group))
            if ranked is None:
                cells.append("")
                continue
            text = _cell(group, tag)
            if better(tag) and ranked.place == 1:
                text = f"[bold]{text} *[/]"
            elif better(tag) and ranked.told_apart is False:
                text = f"{text} ≈"
            elif better(tag):
                text = f"{text}  "
            cells.append(text)
        rank = str(place.place) if place and better(sort) else ""
        table.add_row(rank, *(knobs or [escape(group.name)]), str(len(group.rows)), *cells)
    table.add_section()
    references = {tag: comparison.controls(tag) for tag in tags}
    for source in dict.fromkeys(source for of_tag in references.values() for source in of_tag):
        cells = [
            f"{of[source]:.4g}{'  ' if better(tag) else ''}" if source in of else "" for tag, of in references.items()
        ]
        table.add_row("", source, *[""] * max(len(comparison.axes) - 1, 0), "", *cells, style="dim")
    return table


def _cell(group: Group, tag: str) -> str:
    of = group.estimate(tag)
    assert of is not None
    images = group.error(tag)
    if of.half is None and images is not None:
        value, half = number(of.mean, images).split(" ")
        return f"{value} ({half})"
    text = number(of.mean, of.half)
    return f"{text} n={of.n}" if of.n < len(group.rows) else text


def _print_without_result(what: str, rows: Sequence[Row], screen: Console) -> None:
    if not rows:
        return
    screen.print(f"\n{what}:", highlight=False)
    for row in rows[:LISTED]:
        at = f" at step {row.step:,}" if row.step else ""
        state = "not started" if row.state == "new" else row.state
        reason = f": {row.error.splitlines()[0]}" if row.error else ""
        where = row.name if row.path is None else str(row.path)
        screen.print(f"  {where}\n    {state}{at}{reason}", highlight=False, markup=False, soft_wrap=True)
    if len(rows) > LISTED:
        screen.print(f"  and {len(rows) - LISTED} more, in the CSV", highlight=False)


def print_choices(comparison: Comparison, sort: str, screen: Console) -> None:
    """Which seeds UDR chooses in each group, and what the supervised score `sort` says of them."""
    found = udr.choices(comparison.groups, sort)
    if not found:
        screen.print("\nno choice by UDR: it needs groups of at least two seeds with scores", highlight=False)
        return
    table = Table(
        box=SIMPLE_HEAD, title=f"Chosen without labels, by UDR, and judged by {short(sort)}", title_justify="left"
    )
    for head in udr.heads(sort):
        table.add_column(head.replace("/", "\n"), justify="left" if head == "group" else "right", no_wrap=True)
    for choice in found:
        table.add_row(*map(escape, udr.cells(choice)))
    width, screen.width = screen.width, max(screen.width, _width(table, screen))
    screen.print()
    screen.print(table)
    screen.width = width
    for line in udr.conclusions(found, sort):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def write_csv(comparisons: Sequence[Comparison], path: Path) -> None:
    """A row for each run with its folder, its group, its state, every knob, and every value with its `_se`.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = [row for comparison in comparisons for row in comparison.rows]
    groups = {id(row): group.name for each in comparisons for group in each.groups for row in group.rows}
    knobs = list(dict.fromkeys(name for row in rows for name in row.knobs))
    tags = dict.fromkeys(tag for row in rows for tag in row.metrics)
    with_errors = {tag for row in rows for tag in row.errors}
    values = [name for tag in tags for name in ((tag, f"{tag}_se") if tag in with_errors else (tag,))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "run", "group", "state", "step", "error", *knobs, *values])
    for row in rows:
        cells = row.metrics | {f"{tag}_se": error for tag, error in row.errors.items()}
        writer.writerow(
            [
                "" if row.path is None else row.path,
                row.name,
                groups.get(id(row), ""),
                row.state,
                row.step,
                row.error,
                *(shown(row.knobs[name]) if name in row.knobs else "" for name in knobs),
                *(cells.get(name, "") for name in values),
            ]
        )
    write_atomically(path, text.getvalue())
