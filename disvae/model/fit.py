"""Checks of the images that a network can process, with messages that name a network to use instead."""

from collections.abc import Sequence

POWERS = {16: 2, 32: 3, 64: 4, 128: 5, 256: 6}
"""The sides of square images that model=conv takes, and how often each is halved until it is 4; mlp takes any shape."""


def require_side(x_shape: Sequence[int], side: int, model: str) -> None:
    """Raise ValueError, naming a model that fits, unless `x_shape` is (C, side, side)."""
    if _side(x_shape) != side:
        raise _misfit(x_shape, f"(C, {side}, {side})", model)


def require_power_of_two(x_shape: Sequence[int], model: str) -> int:
    """Return how often the side of square images is halved until it is 4.

    Raises:
        ValueError: `x_shape` is not (C, S, S) with S a power of two from 16 to 256; the message says what to type.
    """
    side = _side(x_shape)
    if side not in POWERS:
        raise _misfit(x_shape, f"(C, S, S) with S {', '.join(map(str, POWERS))}", model)
    return POWERS[side]


def _side(x_shape: Sequence[int]) -> int:
    """Return the side of square images (C, S, S), or 0 for another shape."""
    return x_shape[1] if len(x_shape) == 3 and x_shape[1] == x_shape[2] else 0


def _misfit(x_shape: Sequence[int], expected: str, model: str) -> ValueError:
    said = "model=conv" if _side(x_shape) in POWERS else "model=mlp"
    if said == "model=mlp" and min(x_shape[1:]) > 1:  # pictures, not points
        said += ", or resize the images (dataset=images takes dataset.size=64)"
    return ValueError(f"x_shape must be {expected} for model={model}, got {tuple(x_shape)}: type {said}")
