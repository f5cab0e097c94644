"""A training step as a CUDA graph: hundreds of kernels launched by one call, no Python between them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3
"""Steps made eagerly before: libraries choose their algorithms and the optimiser makes its state."""


class Captured:
    """`body` recorded with tensors of the shapes of `inputs`, to be replayed with other values.

    `generators` are what random numbers are drawn from, beside the default one; seeding any of them before a replay
    seeds the replay. Recording computes nothing. Tensors that `body` returns are overwritten by the next replay.

    Raises:
        RuntimeError: a step that cannot be recorded: it waits for the device, or draws on the CPU.
    """

    def __init__(
        self,
        body: Callable[[dict[str, Tensor]], Tensor],
        inputs: dict[str, Tensor],
        generators: Sequence[torch.Generator],
    ) -> None:
        self.inputs = {name: value.clone() for name, value in inputs.items()}
        self.graph = torch.cuda.CUDAGraph()
        for generator in generators:
            self.graph.register_generator_state(generator)
        torch.cuda.synchronize()
        with torch.cuda.graph(self.graph):
            self.output = body(self.inputs)

    def __call__(self, inputs: dict[str, Tensor]) -> Tensor:
        """The output of one step, on the device."""
        for name, value in inputs.items():
            self.inputs[name].copy_(value, non_blocking=True)
        self.graph.replay()
        return self.output.clone()
