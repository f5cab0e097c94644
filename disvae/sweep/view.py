"""What a sweep shows: bars on a terminal, lines elsewhere, and a summary at the end."""

import os
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column, Table
from rich.text import Text

from disvae.config import ConfigError
from disvae.runs.tags import main_value
from disvae.sweep.entry import Entry, time_left
from disvae.system.duration import duration


def first_line(text: str) -> str:
    """Return the first line that is not empty."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def running_packs(entries: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries of each running process."""
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        if entry.state == "running":
            found.setdefault(entry.pack, []).append(entry)
    return list(found.values())


def title(pack: Sequence[Entry]) -> str:
    """Return a job's name, or `packed 16 (seed=0 … seed=15)` for packed jobs."""
    return pack[0].name if len(pack) == 1 else f"packed {len(pack)} ({pack[0].name} … {pack[-1].name})"


def step(pack: Sequence[Entry]) -> int:
    """Return the mean step of a process's jobs; one of them may be ahead, being scored."""
    return sum(entry.step for entry in pack) // len(pack)


def doing(pack: Sequence[Entry]) -> str:
    """Return what a process does: `training`, or `15 training, 1 scoring`."""
    counts = Counter(entry.activity for entry in pack)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {what}" for what, n in counts.items())


class SweepView:
    """A view of plain lines; the launcher calls its methods when something happens to an entry."""

    def __init__(self, screen: Console, entries: Sequence[Entry], slots: int) -> None:
        self.screen = screen
        self.entries = list(entries)
        self.slots = slots
        self.said_busy: set[int] = set()

    def __enter__(self) -> "SweepView":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def say(self, line: str) -> None:
        """Print a line that stays on the screen."""
        self.screen.print(Text(line), soft_wrap=True)

    def count(self) -> str:
        """Return the count of settled jobs, such as `[ 4/24]`."""
        total = str(len(self.entries))
        return f"[{sum(entry.settled for entry in self.entries):>{len(total)}}/{total}]"

    def left(self) -> str:
        """Return the time that remains: `12:30 left`, `12:30 + scores left` before a job has ended, or nothing."""
        seconds = time_left(self.entries, self.slots)
        ended = any(entry.state == "finished" for entry in self.entries)
        return "" if seconds is None else f"{duration(seconds)}{'' if ended else ' + scores'} left"

    def started(self, entry: Entry) -> None:
        """Show that the entry's process has started."""

    def moved(self, entry: Entry) -> None:
        """Show the step that the entry has reported."""

    def ended(self, entry: Entry) -> None:
        """Print how the entry's process ended; another attempt may follow."""
        if entry.state == "busy":
            if entry.twin or id(entry) in self.said_busy:
                return
            self.said_busy.add(id(entry))
        took = duration(entry.spent)
        reason = first_line(entry.reason)
        said = {
            "finished": f"finished {entry.name} in {took}{_main_value(entry)}",
            "elsewhere": f"finished by another process: {entry.name}",
            "twin": f"the same run as {entry.twin}: {entry.name}",
            "failed": f"failed {entry.name}: {reason}",
            "busy": f"in use by another process, will be checked again: {entry.name}",
            "waiting": f"crashed, will be tried again: {entry.name}: {reason}",
            "interrupted": f"interrupted {entry.name}: {reason}",
        }
        self.say(f"{self.count()} {said[_end(entry)]}")


class Lines(SweepView):
    """A view that also prints every `pause` seconds which jobs run."""

    def __init__(self, screen: Console, entries: Sequence[Entry], slots: int, pause: float = 60.0) -> None:
        super().__init__(screen, entries, slots)
        self.pause = pause
        self.shown = time.monotonic()

    def moved(self, entry: Entry) -> None:
        """Print the running jobs if the last time is long enough ago."""
        if time.monotonic() - self.shown < self.pause:
            return
        self.shown = time.monotonic()
        running = [
            f"{title(pack)} {doing(pack)} {step(pack):,}/{pack[0].steps:,}" for pack in running_packs(self.entries)
        ]
        self.say(" · ".join(filter(None, [f"{self.count()} running: {'; '.join(running)}", self.left()])))


class Bars(SweepView):
    """A view with a bar for each process and one for all jobs."""

    def __init__(self, screen: Console, entries: Sequence[Entry], slots: int) -> None:
        super().__init__(screen, entries, slots)
        self.progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis", ratio=2)
            ),
            BarColumn(bar_width=None, table_column=Column(ratio=1)),
            TextColumn("{task.fields[said]}", markup=False, table_column=Column(no_wrap=True)),
            console=screen,
            expand=True,
            transient=True,
            refresh_per_second=4,
        )
        self.bars: dict[int, TaskID] = {}
        self.total = self.progress.add_task("all jobs", total=len(self.entries), said="")

    def __enter__(self) -> "Bars":
        self.progress.start()
        self._show_total()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def _show_total(self) -> None:
        settled = sum(entry.settled for entry in self.entries)
        failed = sum(entry.state == "failed" for entry in self.entries)
        said = [f"{settled}/{len(self.entries)}", f"{failed} failed" if failed else "", self.left()]
        self.progress.update(self.total, completed=settled, said=" · ".join(filter(None, said)))

    def _show(self, number: int) -> None:
        """Show or remove the bar of a process, which stays as long as one of its jobs runs."""
        pack = [entry for entry in self.entries if entry.pack == number and entry.state == "running"]
        if pack:
            bar = self.bars.get(number)
            if bar is None:
                bar = self.bars[number] = self.progress.add_task("", total=pack[0].steps, said="")
            said = f"{step(pack):,}/{pack[0].steps:,} {doing(pack)}"
            self.progress.update(bar, description=title(pack), completed=step(pack), said=said)
        elif number in self.bars:
            self.progress.remove_task(self.bars.pop(number))
        self._show_total()

    def started(self, entry: Entry) -> None:
        """Give the entry a bar, which packed jobs share."""
        self._show(entry.pack)

    def moved(self, entry: Entry) -> None:
        """Move the bar of the entry."""
        self._show(entry.pack)

    def ended(self, entry: Entry) -> None:
        """Remove the entry from its bar, and print how it ended."""
        super().ended(entry)
        self._show(entry.pack)


def view(entries: Sequence[Entry], slots: int) -> SweepView:
    """Return bars for a terminal, and lines for anything else."""
    screen = Console()
    return (Bars if screen.is_terminal else Lines)(screen, entries, slots)


def _main_value(entry: Entry) -> str:
    if entry.job is None:
        return ""
    try:
        said = main_value(entry.job.run.metrics())
    except ConfigError:
        return ""
    return said and f" · validation {said}"


def _end(entry: Entry) -> str:
    return "twin" if entry.state == "elsewhere" and entry.twin else entry.state


def summary(entries: Sequence[Entry], record: Path, out: Path) -> None:
    """Print how many jobs ended in which way, every failure with its reason and log, and what to type next."""
    screen = Console()
    titles = {
        "finished": "done",
        "skipped": "skipped: finished before",
        "elsewhere": "skipped: finished by another process",
        "twin": "skipped: the same run as another job",
        "failed": "failed",
        "interrupted": "interrupted",
        "waiting": "not started",
    }
    counts = Counter(_end(entry).replace("busy", "waiting") for entry in entries)
    table = Table("jobs", Column("number", justify="right"), box=SIMPLE_HEAD)
    for state, title in titles.items():
        if counts[state]:
            table.add_row(title, str(counts[state]))
    screen.print(table)

    def say(line: str) -> None:
        screen.print(Text(line), soft_wrap=True)

    for entry in entries:
        if entry.state == "failed":
            say(f"failed: {entry.name}: {first_line(entry.reason)}")
            if entry.job and os.path.exists(log := entry.job.run.path / "log.txt"):
                say(f"        log: {shlex.quote(str(log))}")
    if counts["interrupted"] or counts["waiting"] or counts["failed"]:
        forced = any(entry.config is not None and entry.config.force for entry in entries)
        say(
            "The same command resumes the repeats that were started and repeats the other jobs; without force=true it "
            "runs the unfinished jobs."
            if forced
            else "The same command runs the unfinished jobs."
        )
    datasets = {entry.job.run.path.parent for entry in entries if entry.job}
    folder = datasets.pop() if len(datasets) == 1 else out
    say(f"Compare:      python -m disvae.compare {shlex.quote(os.path.relpath(record))}")
    say(f"TensorBoard:  tensorboard --logdir {shlex.quote(os.path.relpath(folder))}")
