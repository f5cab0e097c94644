"""Linear layers of packed runs, with the products that a run alone makes, in its order of factors: y = x W' + b.

Alone, torch computes the gradient of W (O, I) as g' x. vmap computes (x' g)', which sums in another order where O is
small. On a CPU this and the optimiser are where a small network in a pack would round in another way than alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class _Products(torch.autograd.Function):
    """K linear layers of images x (K, B, I), weights (K, O, I) and biases (K, O)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return x W' + b, shape (K, B, O)."""
        ctx.save_for_backward(x, weight)
        return (x @ weight.mT).add_(bias[:, None])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs that need one."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return g @ weight if of_x else None, g.mT @ x if of_weight else None, g.sum(1) if of_bias else None


class _Linear(torch.autograd.Function):
    """A linear layer with a bias under vmap over members; torch calls `vmap` outside the batched level."""

    @staticmethod
    def forward(*_: Any) -> Tensor:
        """Raise TypeError, for the layers are called under vmap alone."""
        raise TypeError("members make their products under torch.func.vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Keep nothing, for the gradients are those of the stacked products."""

    @staticmethod
    def vmap(info: Any, in_dims: Sequence[int | None], *operands: Tensor) -> tuple[Tensor, int]:
        """Return the outputs (K, B, O) of K members."""
        K, given = info.batch_size, zip(operands, in_dims, strict=True)
        stacked = [x.expand(K, *x.shape) if at is None else x.movedim(at, 0) for x, at in given]
        return _Products.apply(*stacked), 0  # type: ignore[no-untyped-call]


class LinearAsAlone(TorchFunctionMode):
    """A mode in which linear layers on a CPU round as they do for a single run; a GPU has other kernels for a pack."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.linear and len(args) == 3 and args[2] is not None:
            x, weight, bias = args
            if x.device.type == "cpu" and x.dim() == 2:
                return _Linear.apply(x, weight, bias)  # type: ignore[no-untyped-call]
        return func(*args, **(kwargs or {}))
