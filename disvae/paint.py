"""How pictures look: colours that colour-blind eyes tell apart, on white, whatever page they end up on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes

if TYPE_CHECKING:
    from torch import Tensor

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, without yellow, which is lost on white."""

DATA, MODEL, INACTIVE = COLOURS[0], COLOURS[1], "0.6"
"""What was measured, what the prior or the model says, what is not in use."""

AMOUNT, SIGNED = "viridis", "RdBu_r"
"""Colour maps of quantities from zero up, and of those about zero."""


def draw_images(axes: Axes, images: "Tensor") -> None:
    """A grid (rows, columns, C, H, W) of pictures in [0, 1] as one, with thin white lines between them."""
    rows, columns, C, H, W = images.shape
    whole = images.clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * H, columns * W, C).cpu().numpy()
    axes.imshow(whole[..., 0] if C == 1 else whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    for row in range(1, rows):
        axes.axhline(row * H - 0.5, color="white", linewidth=1.5)
    for column in range(1, columns):
        axes.axvline(column * W - 0.5, color="white", linewidth=1.5)


def name_images(axes: Axes, images: "Tensor", *, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Names of the rows and columns of a grid of pictures (rows, columns, C, H, W)."""
    H, W = images.shape[-2:]
    axes.set_yticks(H * (np.arange(len(rows)) + 0.5) - 0.5, rows)
    axes.set_xticks(W * (np.arange(len(columns)) + 0.5) - 0.5, columns)


def clear(axes: Axes) -> None:
    """Only the left and the lower line of a chart's frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
