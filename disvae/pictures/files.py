"""Pictures as files: a figure becomes a PNG, the frames of an animation become a GIF."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from disvae.pictures.figure_data import Drawn
from disvae.pictures.style import COLOURS

DPI = 110
"""Dots per inch of picture files and of TensorBoard's images, before the type is enlarged."""

TYPE = 1.4
"""How much larger letters, lines and marks are than a figure says, since a card of TensorBoard is 340 pixels wide."""

FRAME_S = 0.12
"""Seconds for which an animation shows each frame."""

PALETTE_SIZE = 64
"""Number of colours of an animation; all its frames share one palette."""


def rendered(drawn: Drawn) -> tuple[bytes, str]:
    """Return the content and the suffix of a picture's file: a PNG, or an animated GIF."""
    if isinstance(drawn, Figure):
        file = io.BytesIO()
        _enlarge_type(drawn)
        _pixels(drawn, DPI * TYPE).save(file, "PNG")
        return file.getvalue(), ".png"
    frames = [_pixels(frame, DPI) for frame in drawn]
    palette = _palette(frames)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 * FRAME_S), loop=0)
    return file.getvalue(), ".gif"


def _enlarge_type(figure: Figure) -> None:
    """Draw the figure in fewer inches with more dots in each, and break titles that are wider than it."""
    width, height = figure.get_size_inches() / TYPE
    figure.set(size_inches=(width, height + 0.3))  # titles and names take as much height as before
    for text in figure.texts:
        text.set_wrap(True)


def _pixels(figure: Figure, dpi: float) -> Image.Image:
    figure.set(dpi=dpi, facecolor="white")
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()  # savefig would draw twice
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """Return one palette for all frames: black, white and the colours of marks exactly, then averages of the pixels."""
    fixed = np.round(255 * np.array([to_rgb(colour) for colour in ("black", "white", *COLOURS)])).astype(int)
    together = Image.fromarray(np.hstack([np.asarray(frame) for frame in frames[::3]]))
    averages = np.reshape(together.quantize(PALETTE_SIZE - len(fixed)).getpalette() or [], (-1, 3))
    apart = np.abs(averages[:, None] - fixed).max(2).min(1) > 8  # Pillow maps a colour to any near one
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([fixed, averages[apart]]).flatten().tolist())
    return palette
