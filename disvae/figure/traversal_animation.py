"""Animated `traversal`: in its own cell, each active latent moves up and down the quantiles of its prior.

The other latents of a cell keep the code of one image.
"""

from collections.abc import Iterator
from math import cos, pi

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import Normal

from disvae.pictures.figure_data import FigureData, NotDrawable, codes_of
from disvae.pictures.style import DATA, MODEL, draw_images, whole_of
from disvae.statistics.latents import along, quantiles, seeded
from disvae.vae import VAE

FRAMES = 24
"""Number of frames from the lowest quantile to the highest and back."""

CELL = 1.25
"""Width of a cell in inches; eight cells of images with many greys make a file of 350 kB."""

END = 2.0
"""Ends of the movement as standard normal quantiles: from 2.3 % to 98 %."""


@torch.no_grad()
def traversal_animation(vae: VAE, view: FigureData, *, image: int | None = None, most: int = 8) -> Iterator[Figure]:
    """Return frames with a cell for each of at most `most` active latents, highest KL first.

    Raises:
        NotDrawable: no latent is active.
    """
    x = view.pictures(1, image)
    shown = view.latents.busy[:most]
    if not shown:
        raise NotDrawable("at least one latent must be active")
    (code,) = codes_of(vae, x)
    scores = [-END * cos(2 * pi * k / FRAMES) for k in range(FRAMES // 2 + 1)]  # slow at both ends
    with seeded():
        places = quantiles(view.pz, tuple(Normal(0.0, 1.0).cdf(torch.tensor(scores)).tolist()))
    images = torch.stack([vae.decode(along(code, d, places[:, d], view.pz)).mean for d in shown])
    own = [float(np.interp(code[d].item(), places[:, d].cpu().numpy(), scores)) for d in shown]
    return _frames(images, [view.latents.label(d) for d in shown], scores, own)


def _frames(images: Tensor, names: list[str], scores: list[float], own: list[float]) -> Iterator[Figure]:
    """Yield frames of the cells `images` (latents, places, C, H, W), up and down; `own` marks the image's own code."""
    H, W = images.shape[-2:]
    rows = -(-len(names) // 4)
    columns = -(-len(names) // rows)
    size = (max(CELL * columns, 4.8), 0.8 + rows * (0.45 + CELL * H / W))
    figure = Figure(figsize=size, layout="constrained")
    figure.suptitle("Each latent moves along its prior; the others keep the code of one image", fontsize=10)
    figure.supxlabel("quantile of the latent's prior; orange: now, blue: the image's own code", fontsize=9)
    moving = []
    for cell, axes in enumerate(figure.subplots(rows, columns, squeeze=False).flat):
        if cell >= len(names):
            axes.axis("off")
            continue
        draw_images(axes, images[cell, :1, None])
        axes.images[0].set_interpolation("nearest")  # halves the size of the file
        axes.set_title(names[cell], fontsize=9)
        axes.set_yticks([])
        axes.set_xticks([_across(score, W) for score in (-END, 0, END)], ["2 %", "50 %", "98 %"])
        axes.tick_params(length=3, labelsize=8)
        line = {"transform": axes.get_xaxis_transform(), "clip_on": False}
        axes.plot([_across(own[cell], W)], [0], "|", color=DATA, markersize=10, markeredgewidth=2, **line)
        (dot,) = axes.plot([_across(scores[0], W)], [0], "o", color=MODEL, markersize=7, **line)
        moving.append((axes.images[0], dot))
    places = len(scores)
    for place in [*range(places), *range(places - 2, 0, -1)]:
        for cell, (shown, dot) in enumerate(moving):
            shown.set_data(whole_of(images[cell, place][None, None]))
            dot.set_xdata([_across(scores[place], W)])
        yield figure
        figure.set_layout_engine("none")  # keep the layout of the first frame


def _across(score: float, W: int) -> float:
    """Return the horizontal position, in an image W pixels wide, of a standard normal quantile."""
    return W * (0.5 + 0.42 * score / END) - 0.5
