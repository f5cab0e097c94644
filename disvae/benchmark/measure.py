"""Measure what a step costs in seconds, floating-point operations and memory."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from disvae.training.cuda_graph import WARM_UP

Runner = Callable[[int], object]
"""A function that makes a given number of steps and returns when the device has finished them."""


def wait() -> None:
    """Wait until the GPU, if this process uses one, has finished its work."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def seconds(call: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    wait()
    start = time.perf_counter()
    call()
    wait()
    return time.perf_counter() - start


def per_step(runners: Mapping[str, Runner], least: float, rounds: int) -> dict[str, float]:
    """Return the seconds per step of each runner.

    The runners take turns; the result is the median of `rounds` measurements of at least `least` seconds each.
    """
    lengths = {}
    for name, run in runners.items():
        run(WARM_UP + 1)
        lengths[name] = max(1, math.ceil(least / seconds(partial(run, 1))))
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            taken[name].append(seconds(partial(run, lengths[name])) / lengths[name])
    return {name: statistics.median(times) for name, times in taken.items()}


def flop(step: Callable[[], object]) -> int:
    """Return the number of floating-point operations of a step in matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


class _Launches(TorchDispatchMode):
    """Counts torch's operators that compute or copy; views and memory without values need no kernel."""

    count: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.count += not (func.is_view or name == "_unsafe_view" or "empty" in name)
        return func(*args, **(kwargs or {}))


def launches(run: Runner) -> int:
    """Return how many operators of a step launch a kernel: a prediction for a GPU, where a few launch several."""
    counts: list[int] = []
    run(1)  # an optimiser makes its state
    for n in (1, 2):  # the difference leaves out what each call of `run` does once
        with _Launches() as counted:  # type: ignore[no-untyped-call]
            run(n)
        counts.append(counted.count)
    return counts[1] - counts[0]


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the largest measured number of floating-point operations per second in a matrix product."""
    rate = 0.0
    for n in (2048, 4096, 8192) if device.type == "cuda" else (512, 1024):
        a, b = torch.randn(2, n, n, device=device, dtype=dtype)
        rate = max(rate, *(2 * n**3 / seconds(partial(torch.matmul, a, b)) for _ in range(5)))
    return rate


def peak_memory() -> int:
    """Return the peak memory of this process so far in bytes, GPU memory if it has used a GPU."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    if Path("/proc/self/status").exists():  # there, ru_maxrss includes the parent's memory at the fork
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
