"""A process that does one job of a sweep and tells the launcher of it."""

import contextlib
import errno
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
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from omegaconf.errors import OmegaConfBaseException
from tqdm import tqdm

from disvae.config import ConfigError
from disvae.interrupt import Interrupted, interruptible
from disvae.runs import InUse, Run, now
from disvae.sweep.devices import Device, lease
from disvae.task import Task

GRACE = 10.0
"""Seconds from the request to stop to the end by force: time for a step and its checkpoint."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Progress:
    """What a job does and at which step."""

    activity: str
    step: int


@dataclass(frozen=True)
class Outcome:
    """How a job ended: finished, elsewhere (another process has finished it), busy, interrupted or failed.

    `again`: another attempt may go better.
    """

    kind: str
    reason: str = ""
    again: bool = False


def work(task: Task, connection: Connection, devices: Sequence[Device], per_device: int) -> None:
    """The whole life of the process; its last word is an Outcome, if it has one."""
    _print_to(Path(os.devnull))  # until there is a log
    os.setsid()  # the terminal's Ctrl-C is for the launcher, which tells this process
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, which outlives a process that is killed
    signal.signal(signal.SIGTERM, _leave)  # before and after the job, when there is nothing to be kept
    threading.Thread(target=_end_with_the_launcher, args=(connection,), daemon=True).start()
    outcome = _attempt(task, connection, devices, per_device)
    with contextlib.suppress(OSError):  # nobody listens any more
        connection.send(outcome)
    _stop_helpers()
    sys.stdout.flush()
    os._exit(0)  # what hooks into the end of a process (thread pools, queues) may wait for minutes


def _attempt(task: Task, connection: Connection, devices: Sequence[Device], per_device: int) -> Outcome:
    def report(activity: str, step: int) -> None:
        with contextlib.suppress(OSError):
            connection.send(Progress(activity, step))

    try:
        with interruptible():
            task.run.lock().release()  # somebody else's run: leave its log alone
            _log_to(task)
            held = lease(devices, per_device, lambda: report("waiting for a GPU", 0)) if devices else None
            done = task.do(brief=False, report=report)
            if done:
                task.print_result(brief=False)
            del held
        return Outcome("finished" if done else "elsewhere")
    except InUse as error:
        return Outcome("busy", str(error))
    except (Interrupted, KeyboardInterrupt) as error:
        return Outcome("interrupted", f"stopped by {error}" if isinstance(error, Interrupted) else "stopped")
    except Exception as error:
        outcome = _of(error, task.run)
        with contextlib.suppress(OSError):  # the log cannot be written
            print(traceback.format_exc() if outcome.again else f"disvae: {outcome.reason}", file=sys.stderr)
        return outcome


def _of(error: Exception, run: Run) -> Outcome:
    """A crash may go better the next time; what the user has to mend, or a loss that diverged, will not."""
    status = getattr(error, "exit_status", 0)
    if status or isinstance(error, (ConfigError, OmegaConfBaseException)):
        return Outcome("interrupted" if status >= 128 else "failed", str(error))
    if isinstance(error, OSError) and error.errno in FULL:
        return Outcome("failed", f"cannot write to {run.path}: {error.strerror}; make room, or choose another out=PATH")
    return Outcome("failed", f"{type(error).__name__}: {error}", again=True)


def _print_to(path: Path) -> None:
    """From here on all that this process and its libraries print goes there."""
    with path.open("ab", buffering=0) as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)


def _log_to(task: Task) -> None:
    """What is printed goes to the run's log.txt."""
    _print_to(task.run.path / "log.txt")
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.orig_argv = [sys.executable, "-m", "disvae.train", *task.overrides]  # for the run's provenance
    logging.basicConfig(format="%(message)s")
    logging.getLogger("disvae").setLevel(logging.INFO)
    print(f"--- {now()} process {os.getpid()}: python -m disvae.train {shlex.join(task.overrides)}")


def _leave(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    kill(os.getpid())


def kill(pid: int) -> None:
    """End a job's process, there or not, and its helpers, which would outlive it.

    SIGTERM is enough for joblib's processes; the one that is deaf to it removes their files and goes last.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _end_with_the_launcher(connection: Connection) -> None:
    """The launcher never writes: the end of the connection is the end of the launcher."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os.kill(os.getpid(), signal.SIGTERM)  # a checkpoint is written
    time.sleep(GRACE)
    kill(os.getpid())


def _stop_helpers() -> None:
    """joblib keeps its processes for later work, of which there is none."""
    executor = getattr(sys.modules.get("joblib.externals.loky.reusable_executor"), "_executor", None)
    if executor is not None:
        executor.shutdown(wait=True, kill_workers=True)


def mark_dead(run: Run, state: str, reason: str) -> None:
    """Say in the folder of a job that died what it could not say itself, unless another process has taken it over."""
    if not run.path.is_dir():
        return
    with contextlib.suppress(ConfigError), run.lock():
        if not run.finished():
            run.mark(state, run.status()["step"], error=reason)
