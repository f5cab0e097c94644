"""A process of its own that makes steps when told, so that what it does to its process is not done to others."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from disvae.benchmark.measure import Runner, peak_memory
from disvae.config import ConfigError


def _serve(pipe: Connection, threads: int, make: Callable[..., Runner], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    try:
        pipe.send((peak_memory(), 0.0))
        run = make(*arguments)
        pipe.send((peak_memory(), 0.0))
        while n := pipe.recv():
            started = time.process_time()
            run(n)
            peak = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else peak_memory()
            pipe.send((peak, (time.process_time() - started) / n))
    except Exception as error:
        pipe.send(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        pass  # the parent says so


class Worker:
    """A process in which `make(*arguments)` has returned what makes steps.

    `peaks` are the most bytes it held: after its imports, when it is ready and after the steps made last; those on a
    GPU once it is used. `cpu_s` is what a step took of the cores, a number for each call.

    Raises:
        ConfigError: it failed, and why.
    """

    def __init__(self, threads: int, make: Callable[..., Runner], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, make, arguments), daemon=True)
        self._process.start()
        theirs.close()
        self.peaks = [self._answer()[0], self._answer()[0], 0]
        self.cpu_s: list[float] = []

    def _answer(self) -> tuple[int, float]:
        try:
            answer: str | tuple[int, float] = self._pipe.recv()
        except EOFError as error:
            self._process.join()
            raise ConfigError(f"a process of the benchmark died (exit status {self._process.exitcode})") from error
        if isinstance(answer, str):
            raise ConfigError(f"a process of the benchmark failed: {answer}")
        return answer

    def begin(self, n: int) -> None:
        """Let it make `n` steps."""
        self._pipe.send(n)

    def end(self) -> None:
        """Wait for them."""
        self.peaks[2], cpu_s = self._answer()
        self.cpu_s.append(cpu_s)

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
