"""Print the rows of a benchmark as tables; the end of a key is its unit."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

TableRow = dict[str, Any]


def digits(number: float) -> str:
    """Return a number with three digits, or rounded to a whole number if it has more."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


UNITS: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "_per_s": ("/s", digits),
    "_s": (" ms", lambda value: digits(1000 * value)),
    "_bytes": (" MiB", lambda value: f"{value / 2**20:,.0f}"),
    "_flop": (" MFLOP", lambda value: digits(value / 1e6)),
    "_share": (" %", lambda value: f"{100 * value:.1f}"),
    "_ratio": ("", lambda value: f"{value:.2f}"),
}
"""The unit in a column's title and the format of its numbers, by the end of the key."""


def show(title: str, rows: Iterable[TableRow], screen: Console) -> None:
    """Print a title and a table with a column for each key."""
    rows = list(rows)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = []
    for key in dict.fromkeys(key for row in rows for key in row):
        ending = next((ending for ending in UNITS if key.endswith(ending)), "")
        unit, written = UNITS.get(ending, ("", str))
        numbers = all(not isinstance(row.get(key, 0), str) for row in rows)
        table.add_column(
            key.removesuffix(ending).replace("_", " ") + unit, justify="right" if numbers else "left", overflow="fold"
        )
        columns.append([written(row[key]) if key in row else "" for row in rows])
    for cells in zip(*columns, strict=True):
        table.add_row(*cells)
    screen.print(title, highlight=False)  # a title of the table would break at its width
    screen.print(table)
