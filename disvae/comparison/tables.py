"""Tables of a comparison, in the terminal and as a CSV file."""

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from disvae.comparison import udr
from disvae.comparison.groups import Comparison, Group, Ranked, seeds_to_tell_apart, shown
from disvae.comparison.row import Row
from disvae.runs.atomic import write_atomically
from disvae.runs.settings import Setting, supervision
from disvae.runs.tables import Cell, Head, Table, few_images, number, number_cell
from disvae.runs.tags import better, of_several_runs, said, short, titled, without_labels
from disvae.runs.terminal import needed_width, print_whole, rich_table
from disvae.runs.verdict import collapsed

LISTED = 20
"""Most runs without a result that the terminal lists; the report and the CSV list all of them."""


def columns(comparison: Comparison, chosen: Sequence[str], sort: str) -> list[str]:
    """Return the tags to show: `sort` first, then the chosen tags that have values, or else a few scores and terms."""
    if chosen:
        return [tag for tag in dict.fromkeys([sort, *chosen]) if comparison.rank(tag)]
    firsts: dict[str, str] = {}
    for tag in sorted(comparison.headline, key=lambda tag: not better(tag)):  # one score for each metric
        firsts.setdefault(tag.rpartition("/")[0] if tag.startswith("metric/") else tag, tag)
    scores = [tag for tag in comparison.headline if tag.startswith("metric/") and tag in firsts.values()][:3]
    terms = ["val/reconstruction", "val/overlap/mutual_information", "val/structure/total_correlation"]
    rest = [tag for tag in firsts.values() if tag not in scores + terms]
    there = [tag for tag in [*scores, *terms, *rest] if tag in comparison.headline]
    return list(dict.fromkeys([sort, *there]))


def main_tag(comparison: Comparison, wanted: str | None = None) -> str | None:
    """Return the tag that ranks the groups: `wanted` if it has values, else the first score with labels, ELBO, or any.

    A tag that is not `wanted` must have a better end; None if there is no such tag.
    """
    if wanted is not None and comparison.rank(wanted):
        return wanted
    by_labels = [tag for tag in comparison.tags if tag.startswith("metric") and not without_labels(tag)]
    candidates = (*by_labels, "val/elbo", *comparison.tags, *comparison.headline)
    return next((tag for tag in candidates if better(tag) and comparison.rank(tag)), None)


def print_comparison(comparison: Comparison, chosen: Sequence[str], sort: str | None, screen: Console) -> None:
    """Print the number of runs, the table of groups with its baselines, and the runs without a result with reasons."""
    heading = Text.assemble("\n", (comparison.dataset, "bold"), f": {found(comparison)}")
    screen.print(heading, highlight=False, soft_wrap=True)
    if collapse := collapse_of(comparison):
        screen.print(collapse, highlight=False, soft_wrap=True)
    sort = main_tag(comparison, sort)
    if not comparison.groups:
        screen.print("no finished run: nothing to compare yet", highlight=False)
    elif sort is None:
        screen.print("the finished runs have no scores or terms to compare", highlight=False)
    else:
        _print_groups(comparison, chosen, sort, screen)
    _print_without_result("failed", comparison.failed, screen)
    _print_without_result("not finished", comparison.unfinished, screen)
    _print_without_result("left out: the same configuration and seed as another run", comparison.repeated, screen)


def found(comparison: Comparison) -> str:
    """Return the number of runs in each state: `16 runs: 12 finished in 6 groups, 3 running, 1 failed`."""
    counts: dict[str, int] = {}
    for row in comparison.rows:
        counts[row.state] = counts.get(row.state, 0) + 1
    first = f"{counts.pop('finished', 0)} finished"
    if comparison.groups:
        first += f" in {_counted(len(comparison.groups), 'group')}"
    states = [f"{n} {'not started' if state == 'new' else state}" for state, n in counts.items()]
    return f"{_counted(len(comparison.rows), 'run')}: {', '.join([first, *states])}"


def collapse_of(comparison: Comparison) -> str:
    """Return a sentence on the runs without an active latent, whose scores mean nothing; empty if there are none."""
    runs = [row for row in comparison.finished if collapsed(row.metrics)]
    if not runs:
        return ""
    whole = [group.name for group in comparison.groups if group.collapsed]
    names = f"; all runs of {'; '.join(whole[:3])}" + f" and {len(whole) - 3} more groups" * (len(whole) > 3)
    return (
        f"Collapsed: {len(runs)} of {_counted(len(comparison.finished), 'run')} without an active latent, "
        f"so their codes say nothing about the images{names if whole else ''}."
    )


def trust(comparison: Comparison, sort: str) -> str:
    """Return which group and which seed is best, and how far to rely on it; empty if `sort` has no better end."""
    ranked = comparison.rank(sort)
    others = ranked[1:]
    if not others or not better(sort):
        return ""
    known = [each.told_apart for each in others if each.told_apart is not None]
    what = f"by {short(sort)} the best is {_best(ranked[0], sort)}; it is"
    if of_several_runs(sort):
        return f"{what} not known how sure this is, because each group has one value, a comparison of its seeds"
    if not known:
        return f"{what} told apart from no other: this needs at least two seeds of each group, better three"
    if not any(known):
        return f"{what} told apart from no other: do not rely on this order, {_more(ranked[0], others[0])}"
    unknown = f"; not known for {len(others) - len(known)} with one seed each" if len(known) < len(others) else ""
    return f"{what} told apart from {sum(known)} of {len(others)} others{unknown}"


def _best(first: Ranked, sort: str) -> str:
    """Return the first group in words, with its best seed, which is read from the seeds and so too good."""
    rows = [row for row in first.group.rows if sort in row.metrics]
    several = len(rows) > 1 and not of_several_runs(sort)
    seed = max(rows, key=lambda row: better(sort) * row.metrics[sort]) if several else None
    at = "" if seed is None else f", its best seed {seed.settings.get('seed'):g} ({seed.metrics[sort]:.3g})"
    return f"{first.group.name}{at}"


def _more(first: Ranked, second: Ranked) -> str:
    n = seeds_to_tell_apart(first.estimate, second.estimate)
    if n is None:
        return "run more seeds"
    return f"about {n} seeds of each would tell the first two apart (power 80 %, if they differ as these do)"


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _print_groups(comparison: Comparison, chosen: Sequence[str], sort: str, screen: Console) -> None:
    tags = columns(comparison, chosen, sort)

    whole = groups_table(comparison, tags, sort)
    if not chosen:  # columns that were asked for are never cut
        settings, widest = len(whole.heads) - len(tags), _widest(whole)

        def width(columns: int) -> int:
            n = settings + columns
            return needed_width(rich_table(Table(whole.heads[:n], [widest[:n]])), screen)

        tags = tags[: max(1, bisect_right(range(1, len(tags) + 1), screen.width, key=width))]
    print_whole(rich_table(groups_table(comparison, tags, sort)), screen)
    few = [group for group in comparison.groups if len(group.rows) == 1]
    lines = [f"by {short(sort)}, {said(sort)}; mean over seeds ± half the 95 % confidence interval (Student's t)"]
    if len(comparison.groups) > 1:
        marks = "★ best mean of its column   ≈ not told apart from it by these seeds (95 %, Games & Howell)"
        lines.append(marks if len(few) < len(comparison.groups) else "★ best of its column")
    lines += filter(None, [trust(comparison, sort)])
    if few:
        whose = "groups of one seed" if len(few) < len(comparison.groups) else "every group has one seed"
        lines.append(
            f"{whose}: (±) is the interval for this number of images, not of seeds; another seed may change the order"
        )
    lines += too_few(comparison, tags)
    if any(
        estimate.n < len(group.rows) for tag in tags for group in comparison.groups if (estimate := group.estimate(tag))
    ):
        lines.append("n=: number of seeds that have this value")
    left = [short(tag) for tag in comparison.headline if tag not in tags]
    if left and not chosen:
        more = f" and {len(left) - 8} more, the headings of results.csv" if len(left) > 8 else ""
        lines.append(f"more columns with metric=[...]: {', '.join(left[:8])}{more}")
    for line in lines:
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def _widest(table: Table) -> list[Cell]:
    """Return a row with the longest cell of each column: a table of this row is as wide as the whole one."""
    rows = [*table.rows, *table.references]
    return [max((row[i] for row in rows), key=lambda cell: len(cell.text)) for i in range(len(table.heads))]


def too_few(comparison: Comparison, tags: Sequence[str]) -> list[str]:
    """Return lines that name the metrics of these tags that need more images than a finished run had."""
    shown_labels = {tag.split("/")[1] for tag in tags if tag.startswith("metric/")}
    needed = {label: n for row in comparison.finished for label, n in row.needed.items() if label in shown_labels}
    return few_images(needed)


def groups_table(comparison: Comparison, tags: Sequence[str], sort: str) -> Table:
    """Return the groups of a dataset, best by `sort` first, with means over seeds and the baselines below.

    What training knew beside the images is a column unless it is nothing for every group. ★ marks the best mean of a
    column; ≈ marks means that these seeds do not tell apart from the best.
    """
    places = {tag: {id(each.group): each for each in comparison.rank(tag)} for tag in tags}
    known = {id(group): supervision(str(group.settings.get("objective"))) for group in comparison.groups}
    stated = [Head("supervision", is_text=True)] if set(known.values()) - {"none"} else []
    names = axis_heads(comparison) or [Head("group", is_text=True)]
    heads = [Head("#"), *names, *stated, Head("seeds"), *map(tag_head, tags)]
    ranked = [each.group for each in comparison.rank(sort)]
    ranked += [group for group in comparison.groups if id(group) not in places[sort]]
    rows = []
    for group in ranked:
        place = places[sort].get(id(group))
        cells = [Cell(str(place.place) if place and better(sort) else "")]
        settings = [setting_cell(group.settings.get(axis, "")) for axis in comparison.axes]
        cells += settings or [Cell(group.name, kind="text")]
        cells += [Cell(known[id(group)], kind="text") for _ in stated]
        cells += [Cell(str(len(group.rows)), hint=f"seeds {', '.join(map(shown, group.seeds))}")]
        cells += [_estimate(group, tag, places[tag].get(id(group))) for tag in tags]
        rows.append(cells)
    levels = {tag: comparison.controls(tag) for tag in tags}
    references = []
    for source in dict.fromkeys(source for of_tag in levels.values() for source in of_tag):
        cells = [Cell(""), Cell(source, kind="text"), *[Cell("")] * (len(names) + len(stated))]
        references.append(cells + [number_cell(of.get(source)) for of in levels.values()])
    return Table(heads, rows, references)


def tag_head(tag: str) -> Head:
    """Return the heading of a tag's column, with an arrow to its better end."""
    return Head(titled(tag).replace("/", "\n"), descending=better(tag) >= 0, hint=f"{tag}: {said(tag)}")


def axis_heads(comparison: Comparison) -> list[Head]:
    """Return the headings of the settings that vary."""
    return [Head(axis, is_text=axis not in comparison.numeric) for axis in comparison.axes]


def setting_cell(value: Setting) -> Cell:
    """Return the cell of a setting's value."""
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    return Cell(shown(value), repr(value) if numeric else None, "" if numeric else "text")


def _estimate(group: Group, tag: str, place: Ranked | None) -> Cell:
    if place is None:
        return number_cell(None)
    of = place.estimate
    images = group.error(tag)
    if of.half is None and images is not None:
        mean, half = number(of.mean, images).split(" ")
        text = f"{mean} ({half})"
    else:
        text = number(of.mean, of.half)
    text += f" n={of.n}" if of.n < len(group.rows) else ""
    mark = "★" if place.best else "≈" if better(tag) and place.place > 1 and place.told_apart is False else ""
    hint = "seeds: " + ", ".join(f"{value:.4g}" for value in of.values)
    return Cell(f"{text} {mark}".strip(), repr(of.mean), "best" if place.best else "", hint)


def choices_table(found: Sequence[udr.Choice], sort: str) -> Table:
    """Return the seed that UDR chooses in each group, with its supervised score `sort`."""
    heads = [Head(head.replace("/", "\n"), is_text=head == "group") for head in udr.heads(sort)]
    return Table(heads, [[Cell(text, kind="" if i else "text") for i, text in enumerate(udr.cells(c))] for c in found])


def reason(row: Row) -> str:
    """Return in one line why a run has no result; empty if it has just not finished."""
    if row.state == "killed" and not row.error:
        return "its process was killed; the same command resumes from its last checkpoint"
    return row.error.partition("\n")[0]


def _print_without_result(what: str, rows: Sequence[Row], screen: Console) -> None:
    if not rows:
        return
    screen.print(f"\n{what}:", highlight=False)
    for row in rows[:LISTED]:
        at = f" at step {row.step:,}" if row.step else ""
        state = "not started" if row.state == "new" else row.state
        why = f": {reason(row)}" if reason(row) else ""
        where = row.name if row.path is None else str(row.path)
        screen.print(f"  {where}\n    {state}{at}{why}", highlight=False, markup=False, soft_wrap=True)
    if len(rows) > LISTED:
        screen.print(f"  and {len(rows) - LISTED} more, in the CSV", highlight=False)


def print_choices(comparison: Comparison, sort: str, screen: Console) -> None:
    """Print the seed that UDR chooses in each group, with its supervised score `sort`."""
    found = udr.choices(comparison.groups, sort)
    if not found:
        screen.print("\nno choice by UDR: it needs groups with the scores of at least two seeds", highlight=False)
        return
    title = f"Chosen without labels, by UDR, and judged by {short(sort)}"
    table = rich_table(choices_table(found, sort), title=title, title_justify="left")
    screen.print()
    print_whole(table, screen)
    for line in udr.conclusions(found, sort):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)


def write_csv(comparisons: Sequence[Comparison], path: Path) -> None:
    """Write a row for each run: folder, group, state, supervision, every setting, every value with its error `_se`.

    Raises:
        ConfigError: the file cannot be written.
    """
    rows = [row for comparison in comparisons for row in comparison.rows]
    groups = {id(row): group.name for each in comparisons for group in each.groups for row in group.rows}
    settings = list(dict.fromkeys(name for row in rows for name in row.settings))
    tags = dict.fromkeys(tag for row in rows for tag in row.metrics)
    with_errors = {tag for row in rows for tag in row.errors}
    values = [name for tag in tags for name in ((tag, f"{tag}_se") if tag in with_errors else (tag,))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        map(_csv_cell, ["path", "run", "group", "state", "step", "error", "supervision", *settings, *values])
    )
    for row in rows:
        cells = row.metrics | {f"{tag}_se": error for tag, error in row.errors.items()}
        line = [
            "" if row.path is None else str(row.path),
            row.name,
            groups.get(id(row), ""),
            row.state,
            row.step,
            row.error,
            supervision(str(row.settings["objective"])) if "objective" in row.settings else "",
            *(shown(row.settings[name]) if name in row.settings else "" for name in settings),
        ]
        writer.writerow([*map(_csv_cell, line), *map(cells.get, values, repeat(""))])
    write_atomically(path, text.getvalue())


def _csv_cell(value: Any) -> Any:
    """Return a value as a CSV cell, with an apostrophe before text that a spreadsheet would take for a formula."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", " ")  # csv does not quote it, but spreadsheets start a new row at it
    if not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return text
    is_number = re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?|-inf", value, re.ASCII)
    return text if is_number else f"'{text}"
