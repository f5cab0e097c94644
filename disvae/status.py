"""List runs, or the jobs of a sweep, with their states and steps.

    python -m disvae.status
    python -m disvae.status outputs/sprites
    python -m disvae.status outputs/sweeps/SWEEP.json state=failed,killed
    python -m disvae.status tags=paper

Without a path, the runs in outputs/ are listed. The states are new (not started), running, finished, interrupted and
killed (repeat the command to resume), diverged and failed (with the reason).
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from disvae.comparison.results import collect
from disvae.comparison.row import Row
from disvae.config import ConfigError
from disvae.runs.tags import main_value
from disvae.system.command import command, option, paths

STATES = {
    "new": "dim",
    "running": "cyan",
    "finished": "green",
    "interrupted": "yellow",
    "killed": "yellow",
    "diverged": "red",
    "failed": "red",
}
"""The states in the order of a run's life, with their colours in the terminal."""

PLAIN: dict[str, Any] = {"highlight": False, "soft_wrap": True}
"""Print options that keep a path on one line, so that it can be copied."""


def status(arguments: Sequence[str]) -> None:
    """Print a line for each run, and the number of runs in each state.

    Raises:
        ConfigError: a path holds no runs, or a state does not exist.
    """
    from disvae.runs.terminal import console

    folders, overrides = paths(arguments, "path")
    tags, overrides = option(overrides, "tags")
    wanted = _wanted(overrides)
    rows = collect(folders or [Path("outputs")], re.findall(r"[^\s,\[\]]+", tags or ""))
    screen = console()
    for row in rows:
        if row.state in wanted:
            state = Text(f"{row.state:<11}", STATES[row.state])
            screen.print(state, f"{_step(row):>15}  {main_value(row.metrics, 'z.2f'):<13}  {_place(row)}", **PLAIN)
            if row.error:
                screen.print(f"{'':<11} {row.error.splitlines()[0]}", **PLAIN)
            if row.repeat:
                screen.print(f"{'':<11} its repeat (force=true): {row.repeat.splitlines()[0]}", **PLAIN)
    counts = Counter(row.state for row in rows)
    said = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
    screen.print(f"{len(rows)} run{'s' if len(rows) > 1 else ''}: {said}", **PLAIN)


def _wanted(overrides: Sequence[str]) -> list[str]:
    wanted = list(STATES)
    for override in overrides:
        key, _, value = override.partition("=")
        wanted = value.split(",")
        if key != "state" or set(wanted) - STATES.keys():
            raise ConfigError(
                f"{override} is not an option: type state= and one or several of {','.join(STATES)}, or tags=WORD"
            )
    return wanted


def _step(row: Row) -> str:
    steps = row.settings.get("steps")
    return f"{row.step:,}" + (f"/{steps:,.0f}" if isinstance(steps, float) else "")


def _place(row: Row) -> str:
    return row.name if row.path is None else str(row.path)


def main() -> None:
    """Run the command line that lists runs."""
    command(lambda: __doc__ or "", status)


if __name__ == "__main__":
    main()
