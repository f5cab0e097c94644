"""Checks of the images that a network can process, with messages that name a network to use instead."""

from collections.abc import Sequence

FITTING = {64: "conv", 32: "dcgan"}
"""The model for square images of this many pixels a side; model=mlp takes any shape."""


def require_side(x_shape: Sequence[int], side: int, model: str) -> None:
    """Raise ValueError, naming a model that fits, unless `x_shape` is (C, side, side)."""
    if len(x_shape) == 3 and tuple(x_shape[1:]) == (side, side):
        return
    square = len(x_shape) == 3 and x_shape[1] == x_shape[2]
    fitting = FITTING.get(x_shape[1], "mlp") if square else "mlp"
    raise ValueError(
        f"x_shape must be (C, {side}, {side}) for model={model}, got {tuple(x_shape)}: type model={fitting}"
    )
