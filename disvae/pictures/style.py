"""Style of all pictures: colours that colour-blind readers can tell apart, on a white background."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

if TYPE_CHECKING:
    from torch import Tensor

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of Okabe and Ito, without yellow, which is hard to see on white."""

DATA, MODEL, INACTIVE = COLOURS[0], COLOURS[1], "0.6"
"""Colours for data, for the prior or the model, and for inactive latents."""

AMOUNT, SIGNED, TABLE = "viridis", "RdBu_r", "Blues"
"""Colour maps for values from zero up, for values on both sides of zero, and for tables with numbers."""


@contextmanager
def plain_style() -> Iterator[None]:
    """Make and draw figures in matplotlib's default style, whatever the user's matplotlibrc says; also a decorator."""
    with style.context("default"):
        yield


LONGEST_NAME = 24
"""Largest number of characters of a class's name in a picture."""


def class_text(name: str) -> str:
    """Return the name of a class as text for matplotlib: shortened, and with no dollar that begins a formula."""
    short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
    return short.replace("$", r"\$")


def whole_of(images: "Tensor") -> np.ndarray:
    """Join a grid (rows, columns, C, H, W) of images in [0, 1] to one image, (height, width) or (height, width, 3)."""
    rows, columns, C, H, W = images.shape
    whole: np.ndarray = images.clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * H, columns * W, C).cpu().numpy()
    return whole[..., 0] if C == 1 else whole


FEW = 12
"""Largest number of rows or columns of a table whose cells have room for numbers."""


def draw_images(axes: Axes, images: "Tensor") -> None:
    """Draw a grid (rows, columns, C, H, W) of images in [0, 1] with thin white lines between them."""
    rows, columns, _, H, W = images.shape
    axes.imshow(whole_of(images), cmap="gray", vmin=0, vmax=1)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=8)
    for row in range(1, rows):
        axes.axhline(row * H - 0.5, color="white", linewidth=1.5)
    for column in range(1, columns):
        axes.axvline(column * W - 0.5, color="white", linewidth=1.5)


def name_images(axes: Axes, images: "Tensor", *, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Name the rows and columns of a grid of images (rows, columns, C, H, W)."""
    H, W = images.shape[-2:]
    axes.set_yticks(H * (np.arange(len(rows)) + 0.5) - 0.5, rows)
    axes.set_xticks(W * (np.arange(len(columns)) + 0.5) - 0.5, columns)


def frame_image(axes: Axes, images: "Tensor", row: int, column: int, colour: str) -> None:
    """Draw a frame around one image of a grid (rows, columns, C, H, W)."""
    H, W = images.shape[-2:]
    corner = (W * column - 0.5, H * row - 0.5)
    axes.add_patch(Rectangle(corner, W, H, fill=False, edgecolor=colour, linewidth=2, zorder=3))


def write_cells(axes: Axes, values: np.ndarray, *, dark: float) -> None:
    """Write the values (rows, columns) of a table into its cells, in white where |value| > `dark`; skip NaN."""
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if abs(value) > dark else "black"
            axes.text(column, row, f"{value:z.2f}", ha="center", va="center", fontsize=9, color=colour)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def clear(axes: Axes) -> None:
    """Remove the top and the right line of a chart's frame, and shrink its labels."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
