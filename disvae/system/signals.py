"""Ctrl-C (SIGINT) and SIGTERM: as an exception, as a call, or as a socket to wait for."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import FrameType
from typing import Any, NoReturn

Handler = Callable[[int, FrameType | None], Any]


class Interrupted(BaseException):
    """An error raised by Ctrl-C or SIGTERM; as a BaseException it passes through handlers of ordinary errors."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def take_signals(handler: Handler) -> dict[signal.Signals, Any]:
    """Let Ctrl-C and SIGTERM call `handler` from now on, and return their former handlers.

    Python allows this in the main thread only; in another thread nothing changes, and the main thread gets the signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {signum: signal.signal(signum, handler) for signum in (signal.SIGINT, signal.SIGTERM)}


@contextmanager
def signals_call(handler: Handler) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM call `handler` in the body, and restore their former handlers after it."""
    formers = take_signals(handler)
    try:
        yield
    finally:
        for signum, former in formers.items():
            signal.signal(signum, former)


def _raise(signum: int, frame: FrameType | None) -> NoReturn:
    raise Interrupted(signum)


def interruptible() -> AbstractContextManager[None]:
    """Let Ctrl-C and SIGTERM raise Interrupted at once in the body."""
    return signals_call(_raise)


@contextmanager
def awaited_signals() -> Iterator[tuple[socket.socket, list[int]]]:
    """Yield a socket that can be read when Ctrl-C or SIGTERM has come, and the list of signals received so far."""
    received: list[int] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    with reader, writer, signals_call(lambda signum, frame: received.append(signum)):
        former = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield reader, received
        finally:
            signal.set_wakeup_fd(former)
