"""A job as the launcher follows it."""

import time
from dataclasses import dataclass, field

from omegaconf import DictConfig

from disvae.task import Task

SETTLED = ("finished", "skipped", "elsewhere", "failed")


@dataclass
class Entry:
    """A combination of overrides, its task where it can be one, and what has become of it.

    `twin` names the entry before it that is the same run: beta=1.0 after beta=1.

    States: waiting, running, busy (another process has it), finished, skipped (it was finished before), elsewhere
    (another process finished it meanwhile), interrupted, failed.
    """

    overrides: list[str]
    name: str = ""
    config: DictConfig | None = None
    task: Task | None = None
    twin: str = ""
    state: str = "waiting"
    reason: str = ""
    attempts: int = 0
    activity: str = ""
    first: int = 0
    step: int = 0
    spent: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def settled(self) -> bool:
        """Nothing more will happen to it."""
        return self.state in SETTLED

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return int(self.task.config["steps"]) if self.task else 0

    def settle(self, state: str, reason: str = "") -> None:
        """Give it its end, or put it back."""
        if self.state == "running":
            self.spent += time.monotonic() - self.started
        self.state, self.reason = state, reason

    def begin(self) -> None:
        """It runs from now on."""
        assert self.task is not None
        self.first = self.step = min(int(self.task.run.status()["step"]), self.steps)
        self.state, self.activity, self.started = "running", "starting", time.monotonic()
        self.attempts += 1


def time_left(entries: list[Entry], slots: int) -> float | None:
    """Seconds to the end of all, by what a step has cost so far; None before anything is known."""
    seconds = steps = ahead = 0.0
    open_jobs = 0
    for entry in entries:
        if entry.state in ("finished", "running"):
            seconds += entry.spent + (time.monotonic() - entry.started if entry.state == "running" else 0)
            steps += entry.step - entry.first
        if entry.state in ("waiting", "running", "busy"):
            ahead += entry.steps - entry.step
            open_jobs += 1
    return ahead * seconds / steps / max(1, min(slots, open_jobs)) if steps else None
