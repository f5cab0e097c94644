"""Processes for the jobs of a sweep: started as slots come free, listened to, tried again, stopped in order."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType

from disvae.config import ConfigError
from disvae.sweep.devices import Device
from disvae.sweep.entry import Entry
from disvae.sweep.view import View
from disvae.sweep.worker import GRACE, Outcome, Progress, kill, mark_dead, work

BUSY_PAUSE = 2.0
"""Seconds between looks at a job that another process does."""


Context = SpawnContext | ForkServerContext


def processes() -> Context:
    """How jobs are started; on Linux from a server that imports what all of them need once."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["disvae.sweep.server"])
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C is not for the server
    forkserver.ensure_running()
    signal.signal(signal.SIGINT, handler)
    return context


class Signals:
    """SIGINT and SIGTERM as something to wait for beside other connections."""

    def __init__(self) -> None:
        self.received: list[int] = []

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.received.append(signum)

    def __enter__(self) -> "Signals":
        self.socket, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._former_fd = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._former = {signum: signal.signal(signum, self._note) for signum in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._former_fd)
        for signum, handler in self._former.items():
            signal.signal(signum, handler)
        self.socket.close()
        self._wake.close()


def ending(code: int | None) -> str:
    """A process's exit in words."""
    if code is None or code >= 0:
        return f"the process ended with exit status {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + ("; out of memory?" if name == "SIGKILL" else "")


class Pool:
    """`slots` processes at once, each for one job."""

    def __init__(
        self,
        context: Context,
        view: View,
        *,
        slots: int,
        devices: Sequence[Device],
        per_device: int,
        retries: int,
    ) -> None:
        self.context = context
        self.view = view
        self.slots = slots
        self.devices = devices
        self.per_device = per_device
        self.retries = retries
        self.waiting: deque[Entry] = deque()
        self.running: dict[Connection, tuple[Entry, BaseProcess]] = {}
        self.busy: deque[tuple[float, Entry]] = deque()
        self.outcomes: dict[Connection, Outcome] = {}
        self.deadline: float | None = None
        """When what still runs is killed; None while nobody asked to stop."""

    def run(self, entries: Iterable[Entry]) -> int | None:
        """Do all of them; returns the signal that stopped it, if one did."""
        self.waiting.extend(entries)
        with Signals() as signals, self.view:
            while self.running or (self.deadline is None and (self.waiting or self.busy)):
                if self.deadline is None:
                    self._fill()
                for ready in connection.wait([*self.running, signals.socket], self._timeout()):
                    if isinstance(ready, Connection):
                        self._listen(ready)
                    elif isinstance(ready, socket.socket):
                        ready.recv(100)
                self._stop(len(signals.received))
            return signals.received[0] if signals.received else None

    def _timeout(self) -> float | None:
        if self.deadline is not None:
            return max(0.0, self.deadline - time.monotonic())
        if self.busy:
            return max(0.0, self.busy[0][0] - time.monotonic())
        return None if self.running else 0.0  # the last ones needed no process: there is nothing to wait for

    def _fill(self) -> None:
        """Start processes in free slots; those that others did are asked for again when their time has come."""
        while self.busy and self.busy[0][0] <= time.monotonic():
            self.waiting.append(self.busy.popleft()[1])
        while self.waiting and len(self.running) < self.slots:
            self._start(self.waiting.popleft())

    def _start(self, entry: Entry) -> None:
        assert entry.task is not None
        try:
            entry.task = entry.task.claimed()
            if not entry.task.left():
                self._settle(entry, Outcome("elsewhere"))
                return
            if entry.task.run.state() == "running" or any(
                other.task and other.task.run == entry.task.run for other, _ in self.running.values()
            ):
                self._settle(entry, Outcome("busy"))
                return
            entry.begin()
        except ConfigError as error:
            self._settle(entry, Outcome("failed", str(error)))
            return
        task = replace(entry.task, force=entry.task.force and entry.attempts == 1)
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=work, args=(task, theirs, self.devices, self.per_device))
        try:
            process.start()
        except (OSError, EOFError) as error:  # no more processes, or their server was killed
            ours.close()
            self._settle(entry, Outcome("failed", f"no process could be started: {error}", again=True))
            return
        finally:
            theirs.close()
        self.running[ours] = (entry, process)
        self.view.started(entry)

    def _listen(self, channel: Connection) -> None:
        entry = self.running[channel][0]
        try:
            message = channel.recv()
        except (EOFError, OSError):
            self._ended(channel)
            return
        if isinstance(message, Progress):
            if entry.activity == "starting":
                entry.first = message.step
            entry.activity, entry.step = message.activity, max(entry.step, message.step)
            self.view.moved(entry)
        else:
            self.outcomes[channel] = message

    def _ended(self, channel: Connection) -> None:
        entry, process = self.running.pop(channel)
        assert entry.task is not None
        channel.close()
        process.join(5)
        outcome = self.outcomes.pop(channel, None)
        if outcome is None:
            kill(_pid(process))  # its own helpers outlive it
            reason = ending(process.exitcode)
            if self.deadline is None:
                outcome = Outcome("failed", reason, again=True)
            else:
                reason = "stopped before it wrote a checkpoint; the one before counts"
                outcome = Outcome("interrupted", reason)
            mark_dead(entry.task.run, outcome.kind, reason)
        self._settle(entry, outcome)

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        """Note how a job ended, or when it is to be tried again."""
        if self.deadline is None and outcome.kind == "interrupted":  # by somebody else
            outcome = replace(outcome, kind="failed", again=True)
        if outcome.kind == "finished":
            entry.step = entry.steps
        if outcome.kind == "busy":
            entry.settle("busy", outcome.reason)
            self.busy.append((time.monotonic() + BUSY_PAUSE, entry))
            entry.attempts = 0  # it has not begun
        elif outcome.kind == "failed" and outcome.again and entry.attempts <= self.retries and self.deadline is None:
            entry.settle("waiting", outcome.reason)
            self.waiting.append(entry)
        else:
            entry.settle(outcome.kind, outcome.reason)
        self.view.ended(entry)

    def _stop(self, signals: int) -> None:
        """The first signal is passed on; the second, or the end of patience, kills."""
        if not signals:
            return
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE
            self.view.say(f"Stopping: checkpoints are written (within {GRACE:.0f} s); a second signal stops at once")
            for _, process in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(_pid(process), signal.SIGTERM)
        if signals > 1 or time.monotonic() >= self.deadline:
            for _, process in self.running.values():
                kill(_pid(process))


def _pid(process: BaseProcess) -> int:
    assert process.pid is not None  # it was started
    return process.pid
