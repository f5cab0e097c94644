"""How pictures look: colours that colour-blind eyes tell apart, on white, whatever page they end up on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from torch import Tensor

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's, without yellow, which is lost on white."""

DATA, MODEL, INACTIVE = COLOURS[0], COLOURS[1], "0.6"
"""What was measured, what the prior or the model says, what is not in use."""

AMOUNT, SIGNED, TABLE = "viridis", "RdBu_r", "Blues"
"""Colour maps of quantities from zero up, of those about zero, and of tables whose cells hold numbers."""


def whole_of(images: "Tensor") -> np.ndarray:
    """The pixels of a grid (rows, columns, C, H, W) of pictures in [0, 1] as one: (height, width) or with 3 colours."""
    rows, columns, C, H, W = images.shape
    whole: np.ndarray = images.clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * H, columns * W, C).cpu().numpy()
    return whole[..., 0] if C == 1 else whole


FEW = 12
"""Rows or columns of a table whose cells have room for numbers."""


def draw_images(axes: Axes, images: "Tensor") -> None:
    """A grid (rows, columns, C, H, W) of pictures in [0, 1] as one, with thin white lines between them."""
    rows, columns, _, H, W = images.shape
    axes.imshow(whole_of(images), cmap="gray", vmin=0, vmax=1)
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


def frame_image(axes: Axes, images: "Tensor", row: int, column: int, colour: str) -> None:
    """A frame about one picture of a grid (rows, columns, C, H, W)."""
    H, W = images.shape[-2:]
    corner = (W * column - 0.5, H * row - 0.5)
    axes.add_patch(Rectangle(corner, W, H, fill=False, edgecolor=colour, linewidth=2, zorder=3))


def write_cells(axes: Axes, values: np.ndarray, *, dark: float) -> None:
    """The values (rows, columns) of a table in its cells, NaN left out; in white where |value| > `dark`."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > dark else "black"
            axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=9, color=colour)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def clear(axes: Axes) -> None:
    """Only the left and the lower line of a chart's frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
