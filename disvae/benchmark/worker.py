"""A process of its own that makes steps when told, so that what it does to its process is not done to others."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from disvae.benchmark.measure import Runner, peak_memory
from disvae.config import ConfigError


def _serve(pipe: Connection, threads: int, make: Callable[..., Runner], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    try:
        pipe.send(("peak", peak_memory()))
        run = make(*arguments)
        pipe.send(("peak", peak_memory()))
        while n := pipe.recv():
            run(n)
            peak = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else peak_memory()
            pipe.send(("peak", peak))
    except Exception as error:
        pipe.send(("error", f"{type(error).__name__}: {error}"))
    except KeyboardInterrupt:
        pass  # the parent says so


class Worker:
    """A process in which `make(*arguments)` has returned what makes steps.

    `peaks` are the most bytes it held: after its imports, when it is ready and after the steps made last; those on a
    GPU once it is used.

    Raises:
        ConfigError: it failed, and why.
    """

    def __init__(self, threads: int, make: Callable[..., Runner], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, make, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.peaks = [self._answer(), self._answer(), 0]

    def _answer(self) -> int:
        try:
            kind, value = self._pipe.recv()
        except EOFError as error:
            raise ConfigError(f"a process of the benchmark died (exit status {self._process.exitcode})") from error
        if kind == "error":
            raise ConfigError(f"a process of the benchmark failed: {value}")
        return int(value)

    def begin(self, n: int) -> None:
        """Let it make `n` steps."""
        self._pipe.send(n)

    def end(self) -> None:
        """Wait for them."""
        self.peaks[2] = self._answer()

    def __call__(self, n: int) -> None:
        """Both."""
        self.begin(n)
        self.end()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()
