"""Which images a network can process, and which network to type instead."""

from collections.abc import Sequence

FITTING = {64: "conv", 32: "dcgan"}
"""A model for square images of this many pixels a side; model=mlp takes any shape."""


def require_side(x_shape: Sequence[int], side: int, model: str) -> None:
    """Refuses any shape but (C, side, side).

    Raises:
        ValueError: naming a model that fits the shape.
    """
    if len(x_shape) == 3 and tuple(x_shape[1:]) == (side, side):
        return
    square = len(x_shape) == 3 and x_shape[1] == x_shape[2]
    fitting = FITTING.get(x_shape[1], "mlp") if square else "mlp"
    raise ValueError(
        f"x_shape must be (C, {side}, {side}) for model={model}, got {tuple(x_shape)}; type model={fitting}"
    )
