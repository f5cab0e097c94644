"""The numbers of a benchmark as tables, printed as they come."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]


def ms(seconds: float) -> str:
    """Milliseconds to three digits."""
    return digits(1000 * seconds)


def digits(number: float) -> str:
    """Three digits of a number, all of a whole part that has more."""
    return f"{number:.3g}" if number < 999.5 else f"{number:,.0f}"


def mib(size: float) -> str:
    """Mebibytes."""
    return f"{size / 2**20:,.0f}"


def _step(row: Row) -> list[str]:
    case = [row["model"], row["objective"], str(row["batch_size"])]
    if "not_measured" in row:
        return [*case, "", "", "", "", row["not_measured"]]
    whole = sum(row["parts_s"].values())
    return [
        *case,
        digits(row["steps_per_s"]),
        digits(row["flop"] / 1e6),
        f"{100 * row['share_of_floor']:.0f} %",
        str(row["launches"]),
        " ".join(f"{100 * part / whole:2.0f}" for part in row["parts_s"].values()),
    ]


def _loop(row: Row) -> list[str]:
    per_1000 = row["seconds_per_1000_steps"]
    parts = [digits(per_1000[name]) for name in ("steps", "curves", "checkpoints", "Lightning", "validation")]
    return [str(row["steps"]), *parts, f"{100 * row['share_outside_steps']:.2f} %"]


def _data(row: Row) -> list[str]:
    gathers = [f"{name.split('_')[1]}: {ms(value)}" for name, value in row.items() if name.startswith("gather")]
    loads = [f"{row[name]:.2f}" if name in row else "" for name in ("make_s", "load_s")]
    return [row["format"], f"{row['images']:,}", mib(row["bytes"]), ", ".join(gathers), *loads]


TABLES: Mapping[str, tuple[str, tuple[str, ...], Callable[[Row], list[str]]]] = {
    "reference": (
        "A step of a plain loop and of ours: β-VAE, Burgess network, sprites",
        ("batch", "plain ms", "ours ms", "times faster", "by CPU time", "plain MiB", "ours MiB"),
        lambda row: [
            str(row["batch_size"]),
            ms(row["plain_s"]),
            ms(row["disvae_s"]),
            f"{row['ratio']:.2f}",
            f"{row['cpu_ratio']:.2f}",
            mib(row["plain_peak_bytes"]),
            mib(row["disvae_peak_bytes"]),
        ],
    ),
    "steps": (
        "Steps. floor: the share of a step that its products would take at this device's matrix-product rate, "
        "so 100 % is as fast as can be; last: % of a step for data, forward, backward, optimizer",
        ("network", "objective", "batch", "steps/s", "MFLOP", "floor", "launches", "% d f b o"),
        _step,
    ),
    "loop": (
        "Seconds for 1,000 steps of the default run, by what they go to; outside: the share of the time without "
        "validation that the steps do not take",
        ("steps measured", "steps", "curves", "checkpoints", "Lightning", "validation", "outside"),
        _loop,
    ),
    "pack": (
        "K runs: steps a second of all together, more is better; peak memory of all processes",
        ("network", "K", "packed", "in turn", "processes", "at once", "packed MiB", "processes MiB"),
        lambda row: [
            row["model"],
            str(row["K"]),
            *(digits(row[f"{name}_run_steps_per_s"]) for name in ("packed", "one_after_another", "processes")),
            str(row["processes_at_once"]),
            mib(row["packed_peak_bytes"]),
            mib(row["processes_peak_bytes"]),
        ],
    ),
    "data": (
        "Images: as they are held in memory, and files: made from their source, and loaded again",
        ("format", "images", "MiB", "batch: ms to gather", "make s", "load s"),
        _data,
    ),
    "memory": (
        "Peak memory of a process, MiB: β-VAE, Burgess network, sprites",
        ("batch", "imports", "images and network", "steps"),
        lambda row: [str(row["batch_size"]), *(mib(row[f"{name}_bytes"]) for name in ("imports", "ready", "steps"))],
    ),
}


def show(part: str, rows: Iterable[Row], screen: Console) -> None:
    """Print the table of a part."""
    title, columns, cells = TABLES[part]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    words = [i for i, name in enumerate(columns) if name in ("network", "objective", "format", "batch: ms to gather")]
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i in words else "right", overflow="fold")
    for row in rows:
        table.add_row(*cells(row))
    screen.print(title, highlight=False)  # not as the table's, which breaks it at the width of the columns
    screen.print(table)
