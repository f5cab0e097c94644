"""A separate process that makes steps on request, so that cases of the benchmark do not influence each other."""

import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from disvae.benchmark.measure import peak_memory, wait
from disvae.config import ConfigError
from disvae.system.signals import Interrupted


def _serve(pipe: Connection, threads: int, loop: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    wanted = left = 0
    started = 0.0

    def turn() -> None:
        nonlocal wanted, left, started
        if left == 0:
            wait()
            pipe.send((peak_memory(), (time.process_time() - started) / max(1, wanted)))
            wanted = left = pipe.recv()
            started = time.process_time()
        left -= 1

    try:
        loop(turn, *arguments)
    except (EOFError, KeyboardInterrupt, Interrupted):
        pass  # the parent has ended or reports the signal
    except Exception as error:
        pipe.send(ConfigError(f"a process of the benchmark failed: {type(error).__name__}: {error}"))


class BenchmarkWorker:
    """A process that runs `loop(turn, *arguments)`; the loop makes steps without end and calls `turn` before each.

    `peak` is its peak memory in bytes, and `cpu_s` the CPU seconds per step in the last call.

    Raises:
        ConfigError: the process failed; the message says why.
    """

    def __init__(self, loop: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        given = (theirs, torch.get_num_threads(), loop, arguments)
        self._process = context.Process(target=_serve, args=given, daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._wait()  # until the first step can be made
        except BaseException:
            self._process.kill()
            raise

    def _wait(self) -> None:
        try:
            answer = self._pipe.recv()
        except EOFError as error:
            raise ConfigError("a process of the benchmark ended without a result; out of memory?") from error
        if isinstance(answer, ConfigError):
            raise answer
        self.peak, self.cpu_s = answer

    def __call__(self, n: int) -> None:
        """Make `n` steps in the process and wait for them."""
        self._pipe.send(n)
        self._wait()

    def __enter__(self) -> "BenchmarkWorker":
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.close()  # this ends the loop at its next turn
        self._process.join(10)
        self._process.kill()
