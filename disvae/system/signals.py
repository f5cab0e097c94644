"""Signals that ask to stop (Ctrl-C, SIGTERM, a closed terminal, Slurm's warning): exception, call, or socket.

A closed terminal sends SIGHUP, and Slurm sends SIGUSR1 before its time limit with --signal=USR1@SECONDS.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], Any]


STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)]
"""The signals that ask a command to stop; Windows has only the first two."""


class Interrupted(BaseException):
    """An error raised by a signal that asks to stop; it passes through handlers of ordinary errors."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def take_signals(handler: Handler | signal.Handlers) -> dict[signal.Signals, Any]:
    """Let each signal in STOPS call `handler` from now on, and return their former handlers.

    A SIGHUP that `nohup` ignores stays ignored, and in a job of submitit the signal that submitit waits for, SIGUSR2 or
    that of SUBMITIT_PREEMPT_SIGNAL, is submitit's. Python allows this in the main thread only; in another thread
    nothing changes, and the main thread gets the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    left = {number for number in STOPS[2:] if signal.getsignal(number) is signal.SIG_IGN}
    if "SUBMITIT_EXECUTOR" in os.environ:
        preempts = os.environ.get("SUBMITIT_PREEMPT_SIGNAL", "USR2")
        left |= {number for number in STOPS if number.name == f"SIG{preempts}"}
    return {number: signal.signal(number, handler) for number in STOPS if number not in left}


@contextmanager
def signals_call(handler: Handler | signal.Handlers) -> Iterator[None]:
    """Let each signal in STOPS call `handler` in the body, and restore their former handlers after it."""
    formers = take_signals(handler)
    try:
        yield
    finally:
        for signum, former in formers.items():
            signal.signal(signum, former)


class _Raised(threading.local):
    """The signal that has raised Interrupted in the body of `interruptible`; signals reach the main thread only."""

    signum: int | None = None


_raised = _Raised()


def interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    """Raise Interrupted: the handler of a signal."""
    _raised.signum = signum
    raise Interrupted(signum)


def stop_if_asked() -> None:
    """Raise Interrupted again if a signal has raised it in the body of `interruptible` and it did not end the body.

    It belongs where an error of any kind is caught and the work goes on: the error may be a signal's.
    """
    if _raised.signum is not None:
        raise Interrupted(_raised.signum)


@contextmanager
def interruptible(handler: Handler = interrupt) -> Iterator[None]:
    """Let each signal in STOPS raise Interrupted at once in the body, or call `handler`, which may call `interrupt`.

    Interrupted may arrive anywhere: a library's clean-up makes another error of it, and Python drops it in a finaliser.
    The body ends with Interrupted nevertheless.
    """
    try:
        with signals_call(handler):
            yield
        stop_if_asked()
    except Exception as error:
        if _raised.signum is not None:
            raise Interrupted(_raised.signum) from error
        raise
    finally:
        _raised.signum = None


@contextmanager
def awaited_signals() -> Iterator[tuple[socket.socket, list[int]]]:
    """Yield a socket that can be read when a signal in STOPS has come, and the list of signals received so far."""
    received: list[int] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer, signals_call(lambda signum, frame: received.append(signum)):
        former = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader, received
        finally:
            signal.set_wakeup_fd(former)
