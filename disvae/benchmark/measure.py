"""What a step costs: seconds, floating-point operations, bytes, kernel launches, memory."""

import math
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from disvae.training.cuda_graph import WARM_UP

Runner = Callable[[int], object]
"""Makes so many steps and returns when the device has done them."""


def wait(device: torch.device) -> None:
    """Until the device has done all it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds(call: Callable[[], object], device: torch.device) -> float:
    """What one call takes."""
    wait(device)
    start = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - start


def per_step(runners: Mapping[str, Runner], device: torch.device, least: float, rounds: int) -> dict[str, float]:
    """Seconds a step of each, the median of `rounds` measurements of at least `least` seconds; they take turns."""
    lengths = {}
    for name, run in runners.items():
        run(WARM_UP + 1 if device.type == "cuda" else 1)
        lengths[name] = max(1, math.ceil(least / seconds(lambda run=run: run(1), device)))  # type: ignore[misc]
    taken: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            n = lengths[name]
            taken[name].append(seconds(lambda run=run, n=n: run(n), device) / n)  # type: ignore[misc]
    return {name: statistics.median(times) for name, times in taken.items()}


class _Launches(TorchDispatchMode):
    """Counts operations that compute, and the bytes of the tensors they read and write."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.launches = 0
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            self.launches += 1
            tensors = [leaf for leaf in tree_leaves((args, kwargs or {}, out)) if isinstance(leaf, Tensor)]
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out


def work(step: Callable[[], object]) -> dict[str, int]:
    """Floating-point operations of a step, of products and convolutions; launches, and the bytes they touch."""
    counter = FlopCounterMode(display=False)
    with counter:
        step()
    with _Launches() as launched:
        step()
    return {"flop": counter.get_total_flops(), "launches": launched.launches, "bytes": launched.bytes}


def rates(device: torch.device) -> dict[str, float]:
    """The best seen: `flop_per_s` of a matrix product in the precision that is set, `bytes_per_s` of a copy."""
    large = device.type == "cuda"
    product, copy = 0.0, 0.0
    for n in (2048, 4096, 8192) if large else (512, 1024):
        a, b = torch.randn(2, n, n, device=device)
        for _ in range(5):
            product = max(product, 2 * n**3 / seconds(lambda a=a, b=b: a @ b, device))  # type: ignore[misc]
    source = torch.zeros(2**28 if large else 2**24, device=device)
    target = torch.empty_like(source)
    for _ in range(5):
        copy = max(copy, 2 * source.nbytes / seconds(lambda: target.copy_(source), device))
    return {"flop_per_s": product, "bytes_per_s": copy}


def peak_memory() -> int:
    """The most bytes that this process has held so far."""
    if Path("/proc/self/status").exists():  # where ru_maxrss would hold what the parent had at the fork
        (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def processor() -> str:
    """The name of the CPU."""
    if Path("/proc/cpuinfo").exists():
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
