"""A process that runs one job of a sweep, or several packed jobs, and reports each to the launcher."""

import contextlib
import logging
import os
import shlex
import signal
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from disvae.config import ConfigError
from disvae.runs.atomic import FULL
from disvae.runs.folder import InUse, Run
from disvae.runs.provenance import now
from disvae.sweep.devices import Device, lease
from disvae.system.scratch import clear_scratch
from disvae.system.signals import Interrupted, interruptible, stop_if_asked, take_signals
from disvae.training.job import Job
from disvae.training.run_job import do, do_together, say_result

GRACE = 10.0
"""Seconds between the request to stop and the kill; they are for a step and its checkpoint."""


@dataclass(frozen=True)
class JobProgress:
    """A report of what a job does and at which step."""

    activity: str
    step: int


@dataclass(frozen=True)
class JobOutcome:
    """The end of a job: finished, elsewhere (another process has finished it), busy, interrupted or failed.

    `again` says that another attempt may succeed.
    """

    kind: str
    reason: str = ""
    again: bool = False


def do_jobs(jobs: Sequence[Job], connection: Connection, devices: Sequence[Device], per_device: int) -> None:
    """Run the jobs and send (number of a job, JobProgress or JobOutcome); a JobOutcome is the last of each job."""
    _print_to(Path(os.devnull))  # until a log is open
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    os.setsid()  # so that Ctrl-C reaches only the launcher, which tells this process
    tqdm.set_lock(threading.RLock())  # its default is a system semaphore, which outlives a killed process
    take_signals(_leave)  # before and after the job, when there is nothing to save
    threading.Thread(target=_end_with_the_launcher, args=(connection,), daemon=True).start()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("disvae").setLevel(logging.INFO)
    Members(jobs, connection).do(devices, per_device)
    _stop_helpers()
    clear_scratch()
    sys.stdout.flush()
    os._exit(0)  # exit handlers of thread pools and queues may wait for minutes


class Members:
    """The jobs of this process; `open` holds the numbers of those that have not ended."""

    def __init__(self, jobs: Sequence[Job], connection: Connection) -> None:
        self.jobs = jobs
        self.open = list(range(len(jobs)))
        self.connection = connection

    def do(self, devices: Sequence[Device], per_device: int) -> None:
        """Run the jobs; each is reported, however it ends."""
        try:
            with interruptible():
                self._begin_logs()
                held = lease(devices, per_device, self._wait) if devices and self.open else None
                numbers = list(self.open)
                if len(numbers) == 1:
                    [number] = numbers
                    self.done(number, do(self.jobs[number], brief=False, report=partial(self.report, number)))
                elif numbers:
                    do_together(
                        [self.jobs[number] for number in numbers],
                        report=lambda i, activity, step: self.report(numbers[i], activity, step),
                        on_switch=lambda i: self.switch_log(None if i is None else numbers[i]),
                        on_done=lambda i, outcome: self.done(numbers[i], outcome),
                    )
                del held
        except (Exception, Interrupted, KeyboardInterrupt) as error:
            for number in list(self.open):
                self.done(number, error)

    def _begin_logs(self) -> None:
        """Begin the log of each job; end jobs whose log cannot be written or whose run is in use."""
        for number in list(self.open):
            job = self.jobs[number]
            try:
                job.run.lock().release()  # raises InUse before the log of another process's run is touched
                _print_to(job.run.path / "log.txt")
                print(f"--- {now()} process {os.getpid()}: python -m disvae.train {shlex.join(job.overrides)}")
            except Exception as error:
                stop_if_asked()
                self.done(number, error)
        if len(self.open) > 1:
            runs = "".join(f"\n    {self.jobs[number].run.path}" for number in self.open)
            for number in self.open:
                self.switch_log(number)
                print(f"Trained together; messages about all of them are in the log of the first:{runs}")
        self.switch_log(None)

    def _wait(self) -> None:
        for number in self.open:
            self.report(number, "waiting for a GPU", 0)

    def report(self, number: int, activity: str, step: int) -> None:
        """Report what a run does to the launcher."""
        self._send(number, JobProgress(activity, step))

    def switch_log(self, number: int | None) -> None:
        """Send what is printed from here on to this run's log; None means the first run that has not ended."""
        if number is None and self.open:
            number = self.open[0]
        if number is not None:
            job = self.jobs[number]
            try:
                _print_to(job.run.path / "log.txt")
            except OSError:  # so that nothing goes to another run's log
                _print_to(Path(os.devnull))
            sys.orig_argv = [sys.executable, "-m", "disvae.train", *job.overrides]  # for the run's provenance

    def done(self, number: int, outcome: bool | BaseException) -> None:
        """Report that a run has ended: True if trained here, False if trained elsewhere, else the error."""
        job = self.jobs[number]
        if not isinstance(outcome, InUse):  # then the log is another process's
            self.switch_log(number)
        if outcome is True:
            try:
                with interruptible():  # an error that a signal causes is no error of the run
                    say_result(job, brief=False)
            except Exception as error:
                outcome = error
            except Interrupted:  # the run is finished nevertheless
                self._tell(number, JobOutcome("finished"))
                raise
        told = _job_outcome(outcome, job.run)
        if isinstance(outcome, Exception) and told.kind != "busy":
            text = "".join(traceback.format_exception(outcome)) if told.again else f"disvae: {told.reason}"
            with contextlib.suppress(OSError):  # the log cannot be written
                print(text, file=sys.stderr)
        self._tell(number, told)
        self.switch_log(None)

    def _tell(self, number: int, ended: JobOutcome) -> None:
        self._send(number, ended)
        self.open.remove(number)

    def _send(self, number: int, message: JobProgress | JobOutcome) -> None:
        with contextlib.suppress(OSError):  # the launcher is gone
            self.connection.send((number, message))


def _job_outcome(outcome: bool | BaseException, run: Run) -> JobOutcome:
    """Return the outcome to report; crashes are tried again, but not wrong settings, full disks or diverged losses."""
    if isinstance(outcome, bool):
        return JobOutcome("finished" if outcome else "elsewhere")
    if isinstance(outcome, InUse):
        return JobOutcome("busy", str(outcome))
    if isinstance(outcome, (Interrupted, KeyboardInterrupt)):
        return JobOutcome("interrupted", f"stopped by {outcome}" if isinstance(outcome, Interrupted) else "stopped")
    status = getattr(outcome, "exit_status", 0)
    if status or isinstance(outcome, (ConfigError, OmegaConfBaseException)):
        again = status == 1  # out of memory: alone, or later, there may be enough
        return JobOutcome("interrupted" if status >= 128 else "failed", str(outcome), again)
    if isinstance(outcome, OSError) and outcome.errno in FULL:
        reason = f"cannot write to {run.path}: {outcome.strerror}; make room, or type another out=PATH"
        return JobOutcome("failed", reason)
    return JobOutcome("failed", f"{type(outcome).__name__}: {outcome}", again=True)


def _print_to(path: Path) -> None:
    """Send to `path` all that this process and its libraries print from here on."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the disk of the former file is full
            stream.flush()
    with path.open("ab", buffering=0) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _leave(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    clear_scratch()
    kill(os.getpid())


def kill(pid: int) -> None:
    """Kill a job's process, if it still exists, and its helpers, which would outlive it.

    SIGTERM ends joblib's processes. Its resource tracker ignores SIGTERM, removes their files and ends last.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _end_with_the_launcher(connection: Connection) -> None:
    """End this process when the launcher ends, which closes the connection."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os.kill(os.getpid(), signal.SIGTERM)  # so that a checkpoint is written
    time.sleep(GRACE)
    kill(os.getpid())


def _stop_helpers() -> None:
    """Stop joblib's processes, which it keeps for later work."""
    executor = getattr(sys.modules.get("joblib.externals.loky.reusable_executor"), "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


def mark_dead(job: Job, state: str, reason: str) -> None:
    """Write a dead job's status into its run folder, unless another process has taken the run over."""
    if not job.run.path.is_dir():
        return
    with contextlib.suppress(ConfigError), job.run.lock():
        run = job.run.place(job.force)
        if run.path.is_dir() and not run.finished():
            run.mark(state, run.status()["step"], error=reason)
