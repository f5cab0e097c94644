"""A training step as a CUDA graph: hundreds of kernels launched by one call, no Python between them."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

WARM_UP = 3
"""Steps made eagerly before: libraries choose their algorithms and the optimiser makes its state."""

_FAILED: list[torch.cuda.CUDAGraph] = []
"""Recordings that failed: torch's allocator of pinned memory goes on asking them which stream was theirs."""


def can_record(device: torch.device) -> bool:
    """Whether a device has graphs."""
    return device.type == "cuda"


class Rehearsal:
    """Steps made eagerly on the stream that they will be recorded on, since libraries keep workspaces by stream.

    `waits` says where the last of them made Python wait for the device; such a step cannot be recorded, and a recording
    that is broken off leaves torch in a poor state.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self.steps = 0
        self.waits: list[str] = []

    def __call__(self, step: Callable[[], Tensor]) -> Tensor:
        """What `step` returns."""
        with _aside(self.stream), _waits() as self.waits:
            made = step()
        self.steps += 1
        return made


class Captured:
    """`body` recorded on `stream` with tensors of the shapes of `inputs`, to be replayed with other values.

    `generators` are what random numbers are drawn from, beside the default one; seeding any of them before a replay
    seeds the replay. Recording computes nothing. Tensors that `body` returns are overwritten by the next replay.

    Raises:
        RuntimeError: a step that cannot be recorded: it waits for the device, or draws on the CPU. Steps can be made
            eagerly after that.
    """

    def __init__(
        self,
        body: Callable[[dict[str, Tensor]], Tensor],
        inputs: dict[str, Tensor],
        generators: Sequence[torch.Generator],
        stream: torch.cuda.Stream,
    ) -> None:
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self.graph.register_generator_state(generator)
        pool = torch.cuda.graph_pool_handle()
        with _aside(stream):  # torch.cuda.graph leaves its stream current when it fails
            try:
                with torch.cuda.graph(self.graph, pool=pool, stream=stream):
                    self.output = body(self.inputs)
            except BaseException:
                _abandon(self.graph, stream.device_index, pool, generators)
                raise

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """The output of one step, on the device."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value, non_blocking=True)
        self.graph.replay()
        return self.output.clone()


@contextlib.contextmanager
def _aside(stream: torch.cuda.Stream) -> Iterator[None]:
    """Work within goes to `stream`, after what was asked for before and before what is asked for later."""
    outside = torch.cuda.current_stream(stream.device)
    stream.wait_stream(outside)
    with torch.cuda.stream(stream):
        yield
    outside.wait_stream(stream)


@contextlib.contextmanager
def _waits() -> Iterator[list[str]]:
    """The places that wait for the device within, once it is over."""
    places: list[str] = []
    former = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield places
        finally:
            torch.cuda.set_sync_debug_mode(former)
    for warning in caught:
        if "synchronizing CUDA operation" in str(warning.message):
            places.append(f"{warning.filename}:{warning.lineno}")
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)


def _abandon(
    graph: torch.cuda.CUDAGraph, device: int, pool: tuple[int, int], generators: Sequence[torch.Generator]
) -> None:
    """Do what torch leaves undone after a recording that failed, without which its next empty_cache() fails, too."""
    with contextlib.suppress(RuntimeError):  # not recording any more: torch has done it
        torch._C._cuda_endAllocateToPool(device, pool)
        _FAILED.append(graph)
        torch._C._cuda_releasePool(device, pool)
    for generator in (torch.cuda.default_generators[device], *generators):
        generator.graphsafe_set_state(generator.clone_state())  # before torch 2.11 its state would be a recording's
