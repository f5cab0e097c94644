"""Processes for the jobs of a sweep: start them in free slots, read their messages, retry crashes, stop on signals."""

import contextlib
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing import connection, forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.sweep.devices import Device
from disvae.sweep.entry import Entry, together
from disvae.sweep.view import SweepView
from disvae.sweep.worker import GRACE, JobOutcome, do_jobs, kill, mark_dead
from disvae.system.scratch import scratch, temporary_files_in
from disvae.system.signals import awaited_signals, signals_call

BUSY_PAUSE = 2.0
"""Seconds until a job that another process runs is looked at again."""

MOST_BYTES = 76
"""Longest path of a folder for multiprocessing's sockets, which adds 31 bytes; the system takes no more than 107."""

Context = SpawnContext | ForkServerContext


def process_context() -> Context:
    """Return the context that starts processes; on Linux a server with all common imports forks them."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["disvae.sweep.server"])
    own = scratch()
    place = own if len(os.fsencode(own)) <= MOST_BYTES else Path(tempfile.gettempdir())
    # What the terminal and Slurm send is not for the server, which ends with us.
    with signals_call(signal.SIG_IGN), temporary_files_in(place):
        forkserver.ensure_running()
    return context


def ending(code: int | None) -> str:
    """Return the exit of a process in words."""
    if code is None or code >= 0:
        return f"the process ended with exit status {code}"
    name = signal.Signals(-code).name
    return f"killed by {name}" + ("; out of memory?" if name == "SIGKILL" else "")


@dataclass(frozen=True)
class Worker:
    """A process and those of its jobs that have not ended, by number."""

    process: BaseProcess
    entries: dict[int, Entry]

    @property
    def pid(self) -> int:
        """Return the identifier of the process, which is also its process group's."""
        assert self.process.pid is not None  # it was started
        return self.process.pid


class Pool:
    """At most `slots` processes at once, each for one job or for several packed jobs.

    `pack` groups entries by the process that they share.
    """

    def __init__(
        self,
        context: Context,
        view: SweepView,
        *,
        slots: int,
        devices: Sequence[Device],
        per_device: int,
        retries: int,
        pack: Callable[[Sequence[Entry]], list[list[Entry]]],
    ) -> None:
        self.context = context
        self.view = view
        self.slots = slots
        self.devices = devices
        self.per_device = per_device
        self.retries = retries
        self.pack = pack
        self.waiting: deque[list[Entry]] = deque()
        self.running: dict[Connection, Worker] = {}
        self.busy: list[Entry] = []
        self.look = 0.0
        """The time at which busy jobs are looked at again."""
        self.deadline: float | None = None
        """The time at which running processes are killed; None until somebody asks to stop."""

    def run(self, packs: Iterable[list[Entry]]) -> int | None:
        """Run all jobs; return the signal that stopped the sweep, if there was one."""
        self.waiting.extend(packs)
        with awaited_signals() as (wake, received), self.view:
            while self.running or (self.deadline is None and (self.waiting or self.busy)):
                if self.deadline is None:
                    self._fill()
                for ready in connection.wait([*self.running, wake], self._timeout()):
                    if isinstance(ready, Connection):
                        self._listen(ready)
                    elif isinstance(ready, socket.socket):
                        ready.recv(100)
                self._stop(len(received))
            return received[0] if received else None

    def _timeout(self) -> float | None:
        if self.deadline is not None:
            return max(0.0, self.deadline - time.monotonic())
        if self.busy:
            return max(0.0, self.look - time.monotonic())
        return None if self.running else 0.0  # the last jobs needed no process

    def _fill(self) -> None:
        """Start processes in free slots, and look again at busy jobs when it is time."""
        if self.busy and self.look <= time.monotonic():
            self.waiting.extend(self.pack(self.busy))
            self.busy = []
        while self.waiting and len(self.running) < self.slots:
            self._start(self.waiting.popleft())

    def _start(self, pack: Sequence[Entry]) -> None:
        ready = [entry for entry in pack if self._is_ready(entry, alone=len(pack) == 1)]
        if not ready:
            return
        jobs = []
        for entry in ready:
            entry.begin(len(ready))
            assert entry.job is not None
            jobs.append(entry.job)
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=do_jobs, args=(jobs, theirs, self.devices, self.per_device))
        try:
            process.start()
        except (OSError, EOFError) as error:  # the system has no more processes, or the server was killed
            ours.close()
            for entry in ready:
                self._settle(entry, JobOutcome("failed", f"no process could be started: {error}", again=True))
            return
        finally:
            theirs.close()
        self.running[ours] = Worker(process, dict(enumerate(ready)))
        for entry in ready:
            self.view.started(entry)

    def _is_ready(self, entry: Entry, *, alone: bool) -> bool:
        """Return whether the job can start now; if not, set its state or queue it again."""
        assert entry.job is not None
        try:
            entry.job = entry.job.claimed()
            left = entry.job.remaining()
            run = entry.job.run
            if not left:
                self._settle(entry, JobOutcome("elsewhere"))
            elif run.state() == "running" or run in self._runs():
                self._settle(entry, JobOutcome("busy"))
            elif left != "training" and not alone:  # another process has trained it; only scores remain
                self._alone(entry)
            else:
                return True
        except ConfigError as error:
            self._settle(entry, JobOutcome("failed", str(error)))
        return False

    def _runs(self) -> set[Run]:
        """Return the runs that processes of this sweep work on."""
        entries = [entry for worker in self.running.values() for entry in worker.entries.values()]
        return {entry.job.run for entry in entries if entry.job}

    def _alone(self, entry: Entry) -> None:
        together([entry])
        self.waiting.append([entry])

    def _listen(self, channel: Connection) -> None:
        try:
            number, message = channel.recv()
        except (EOFError, OSError):
            self._ended(channel)
            return
        entries = self.running[channel].entries
        if isinstance(message, JobOutcome):
            self._settle(entries.pop(number), message)
            return
        entry = entries[number]
        if entry.activity == "starting":
            entry.first = message.step
        entry.activity, entry.step = message.activity, max(entry.step, message.step)
        self.view.moved(entry)

    def _ended(self, channel: Connection) -> None:
        worker = self.running.pop(channel)
        channel.close()
        worker.process.join(5)
        if not worker.entries:
            return
        kill(worker.pid)  # its helper processes outlive it
        reason = ending(worker.process.exitcode)
        outcome = JobOutcome("failed", reason, again=True)
        if self.deadline is not None:
            reason = "stopped before it wrote a checkpoint; it resumes from the one before"
            outcome = JobOutcome("interrupted", reason)
        for entry in worker.entries.values():
            assert entry.job is not None
            mark_dead(entry.job, outcome.kind, reason)
            self._settle(entry, outcome)

    def _settle(self, entry: Entry, outcome: JobOutcome) -> None:
        """Note how a job ended, or put it back to be tried again."""
        if self.deadline is None and outcome.kind == "interrupted":  # by another program
            outcome = replace(outcome, kind="failed", again=True)
        if outcome.kind == "finished":
            entry.step = entry.steps
        if outcome.kind == "busy":
            entry.attempts -= entry.state == "running"  # the attempt did not start
            entry.settle("busy", outcome.reason)
            if not self.busy:
                self.look = time.monotonic() + BUSY_PAUSE
            self.busy.append(entry)
        elif outcome.kind == "failed" and outcome.again and entry.attempts <= self.retries and self.deadline is None:
            entry.settle("waiting", outcome.reason)
        else:
            entry.settle(outcome.kind, outcome.reason)
            if outcome.kind == "failed" and not outcome.again and entry.job:
                entry.job.run.withdraw()  # the sweep's record has the reason
        self.view.ended(entry)
        if entry.state == "waiting":
            self._alone(entry)

    def _stop(self, signals: int) -> None:
        """Pass the first signal on; kill the processes after a second signal or when the time is over."""
        if not signals:
            return
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE
            self.view.say(f"Stopping: checkpoints are written (at most {GRACE:.0f} s); a second signal stops at once")
            for worker in self.running.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGTERM)
        if signals > 1 or time.monotonic() >= self.deadline:
            for worker in self.running.values():
                kill(worker.pid)
