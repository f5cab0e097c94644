"""A job of a sweep, with its state as the launcher follows it."""

import itertools
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from omegaconf import DictConfig

from disvae.training.job import Job

SETTLED = ("finished", "skipped", "elsewhere", "failed")
"""The states in which a job stays."""

_NUMBERS = itertools.count()


@dataclass
class Entry:
    """A combination of overrides, its job if the overrides are valid, and its state.

    `twin` names an earlier entry with the same run, for example beta=1 for beta=1.0.

    States: waiting, running, busy (another process trains the run), finished, skipped (the run was finished before),
    elsewhere (another process finished the run during this sweep), interrupted, failed.

    `most` is the largest number of runs that may be packed with it; packed entries have the same number `pack`.
    `spent` is the job's time in seconds, and `effort` its share of the time of its processes.
    """

    overrides: list[str]
    name: str = ""
    config: DictConfig | None = None
    job: Job | None = None
    twin: str = ""
    state: str = "waiting"
    reason: str = ""
    attempts: int = 0
    activity: str = ""
    first: int = 0
    step: int = 0
    spent: float = 0.0
    effort: float = 0.0
    started: float = field(default_factory=time.monotonic)
    most: int = 1
    pack: int = field(default_factory=_NUMBERS.__next__)
    size: int = 1

    @property
    def settled(self) -> bool:
        """Return whether the job has reached its final state."""
        return self.state in SETTLED

    @property
    def steps(self) -> int:
        """Return the number of steps of the whole run."""
        return int(self.job.config["steps"]) if self.job else 0

    @property
    def running(self) -> float:
        """Return the seconds since the job was started."""
        return time.monotonic() - self.started

    def settle(self, state: str, reason: str = "") -> None:
        """Set the state of a job that has ended, or that will be tried again."""
        if self.state == "running":
            self.spent += self.running
            self.effort += self.running / self.size
        self.state, self.reason = state, reason

    def begin(self, size: int = 1) -> None:
        """Note that the job runs from now on, as one of `size` in its process."""
        assert self.job is not None
        self.size = size
        self.first = self.step = min(int(self.job.run.place(self.job.force).status()["step"]), self.steps)
        self.state, self.activity, self.started = "running", "starting", time.monotonic()
        self.attempts += 1


def together(entries: Iterable[Entry]) -> None:
    """Give the entries a common number, so that one process runs them."""
    number = next(_NUMBERS)
    for entry in entries:
        entry.pack = number


def time_left(entries: Sequence[Entry], slots: int) -> float | None:
    """Return the seconds until all jobs are done, from what the jobs have cost so far; None before it is known.

    Finished jobs tell what a step costs with its share of scores and pictures. Before the first has finished, only
    steps are counted. The cost of a packed step is shared equally by its runs.
    """
    begun = [entry for entry in entries if entry.state in ("finished", "running")]
    ended = [entry for entry in begun if entry.state == "finished"]
    rate, whole = _seconds_per_step(begun), _seconds_per_step(ended)
    if rate is None:
        return None
    ahead = [entry for entry in entries if entry.state in ("waiting", "running", "busy")]
    seconds = 0.0
    for entry in ahead:
        to_the_end = (entry.steps - entry.first) * (whole or 0) - _cost(entry)
        seconds += max((entry.steps - entry.step) * rate, to_the_end)
    return seconds / max(1, min(slots, len({entry.pack for entry in ahead})))


def _cost(entry: Entry) -> float:
    """Return the job's share, so far, of the seconds of its processes."""
    return entry.effort + (entry.running / entry.size if entry.state == "running" else 0)


def _seconds_per_step(entries: Sequence[Entry]) -> float | None:
    """Return what a step has cost on average, everything included; None before there is a step."""
    steps = sum(entry.step - entry.first for entry in entries)
    return sum(map(_cost, entries)) / steps if steps else None
