"""The numbers of a benchmark as tables, printed as they come."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

Row = dict[str, Any]

PARTS = "data forward backward optimizer"


def ms(seconds: float) -> str:
    """Milliseconds to three digits."""
    return f"{1000 * seconds:.3g}"


def mib(size: float) -> str:
    """Mebibytes."""
    return f"{size / 2**20:,.0f}"


def _step(row: Row) -> list[str]:
    case = [row["model"], row["objective"], str(row["batch_size"])]
    if "not_measured" in row:
        return [*case, "", "", "", "", "", row["not_measured"]]
    whole = sum(row["parts_s"].values())
    return [
        *case,
        f"{row['steps_per_s']:.4g}",
        f"{row['images_per_s']:,.0f}",
        f"{row['flop'] / 1e9:.2f}",
        f"{100 * row['share_of_floor']:.0f} %",
        str(row["launches"]),
        " ".join(f"{100 * part / whole:.0f}" for part in row["parts_s"].values()),
    ]


def _loop(row: Row) -> list[str]:
    per_1000 = row["seconds_per_1000_steps"]
    parts = [f"{per_1000[name]:.3g}" for name in ("steps", "curves", "checkpoints", "Lightning", "validation")]
    return [str(row["steps"]), *parts, f"{100 * row['share_outside_steps']:.2f} %"]


def _data(row: Row) -> list[str]:
    gathers = [f"{name.split('_')[1]}: {ms(value)}" for name, value in row.items() if name.startswith("gather")]
    loads = [f"{row[name]:.2f}" if name in row else "" for name in ("make_s", "load_s")]
    return [row["format"], f"{row['images']:,}", mib(row["bytes"]), ", ".join(gathers), *loads]


TABLES: Mapping[str, tuple[str, tuple[str, ...], Callable[[Row], list[str]]]] = {
    "reference": (
        "A plain loop beside ours: β-VAE, Burgess network, sprites",
        ("batch", "plain ms/step", "ours ms/step", "times faster", "by CPU time", "plain MiB", "ours MiB"),
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
        "Steps: the floor is what the step's products take at this device's matrix-product rate",
        ("network", "objective", "batch", "steps/s", "images/s", "GFLOP", "floor", "launches", "% " + PARTS),
        _step,
    ),
    "loop": (
        "1,000 steps of the default run in seconds; outside: of the time without validation",
        ("steps measured", "steps", "curves", "checkpoints", "Lightning", "validation", "outside"),
        _loop,
    ),
    "pack": (
        "K runs: steps of all runs a second",
        ("network", "K", "packed", "one after another", "processes", "at once", "packed MiB", "processes MiB"),
        lambda row: [
            row["model"],
            str(row["K"]),
            *(f"{row[f'{name}_run_steps_per_s']:.4g}" for name in ("packed", "one_after_another", "processes")),
            str(row["processes_at_once"]),
            mib(row["packed_peak_bytes"]),
            mib(row["processes_peak_bytes"]),
        ],
    ),
    "data": (
        "Images: as they are held; made from their source, and loaded again",
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
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    words = [i for i, name in enumerate(columns) if name in ("network", "objective", "format", "batch: ms to gather")]
    for i, name in enumerate(columns):
        table.add_column(name, justify="left" if i in words else "right")
    for row in rows:
        table.add_row(*cells(row))
    screen.print(table)
