"""Pictures as files: PNG, or the frames of an animation as a GIF."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from disvae.pictures import style as paint
from disvae.pictures.figure_data import Drawn

DPI = 110
"""Of files and TensorBoard's images."""

FRAME_S = 0.12
"""Seconds that a frame of an animation stays."""

PALETTE_SIZE = 64
"""Of an animation, the same ones in all frames."""


def rendered(drawn: Drawn) -> tuple[bytes, str]:
    """A picture as a file's content and its suffix: PNG, or an animated GIF."""
    if isinstance(drawn, Figure):
        file = io.BytesIO()
        drawn.savefig(file, format="png", dpi=DPI, facecolor="white")
        return file.getvalue(), ".png"
    frames = [_pixels(frame) for frame in drawn]
    palette = _palette(frames)
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=round(1000 * FRAME_S), loop=0)
    return file.getvalue(), ".gif"


def _pixels(frame: Figure) -> Image.Image:
    frame.set(dpi=DPI, facecolor="white")
    canvas: Any = FigureCanvasAgg(frame)
    canvas.draw()  # savefig draws twice
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """One for all frames; black, white and the colours of marks are in it as they are, the rest are averages."""
    fixed = np.round(255 * np.array([to_rgb(colour) for colour in ("black", "white", *paint.COLOURS)])).astype(int)
    together = Image.fromarray(np.hstack([np.asarray(frame) for frame in frames[::3]]))
    averages = np.reshape(together.quantize(PALETTE_SIZE - len(fixed)).getpalette() or [], (-1, 3))
    apart = np.abs(averages[:, None] - fixed).max(2).min(1) > 8  # Pillow takes a near one for the right one
    palette = Image.new("P", (1, 1))
    palette.putpalette(np.concatenate([fixed, averages[apart]]).flatten().tolist())
    return palette
