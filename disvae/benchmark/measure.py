"""What a step costs: seconds, floating-point operations, memory."""

import math
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from disvae.training.cuda_graph import WARM_UP

Runner = Callable[[int], object]
"""Make a number of steps and return when the device has done them."""


def wait() -> None:
    """Wait until the GPU, if this process uses one, has done all it was told."""
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
    """Return each runner's seconds a step: the median of `rounds` measurements of `least` seconds, made in turns."""
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
    """Return the floating-point operations of a step in products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the most floating-point operations a second that were seen in a matrix product."""
    rate = 0.0
    for n in (2048, 4096, 8192) if device.type == "cuda" else (512, 1024):
        a, b = torch.randn(2, n, n, device=device, dtype=dtype)
        rate = max(rate, *(2 * n**3 / seconds(partial(torch.matmul, a, b)) for _ in range(5)))
    return rate


def peak_memory() -> int:
    """Return the most bytes that this process has held so far: on the GPU if it has used one."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    if Path("/proc/self/status").exists():  # where ru_maxrss would hold what the parent had at the fork
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
