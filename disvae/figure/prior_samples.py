"""Means of p(x|z) for codes z drawn from p(z), beside images of the dataset."""

import torch
from matplotlib.figure import Figure
from torch import Tensor

from disvae.pictures.figure_data import FigureData
from disvae.pictures.style import draw_images
from disvae.statistics.latents import seeded
from disvae.vae import VAE


@torch.no_grad()
def prior_samples(vae: VAE, view: FigureData, *, side: int = 6) -> Figure:
    """Return two squares of `side` x `side` images: decoded from independent draws of the prior, and from the data."""
    x = view.pictures(side**2)
    with seeded():
        z = vae.prior().sample((side**2,))
        means = vae.decode(z, vae.draw_noise(z)).mean
    figure = Figure(figsize=(8.2, 0.55 + 4.0 * x.shape[2] / x.shape[3]), layout="constrained")
    left, right = figure.subplots(1, 2)
    draw_images(left, _square(means, side))
    left.set_title(f"model: z from the prior ({type(vae.prior).__name__})", fontsize=9)
    draw_images(right, _square(x, side))
    right.set_title("data: fixed sample", fontsize=9)
    for axes in (left, right):
        axes.set_xticks([])
        axes.set_yticks([])
    many = f"{side**2} of each" if len(x) == side**2 else f"{side**2} samples, {len(x)} images"
    figure.suptitle(f"Does the prior generate images like the data? {many}", fontsize=10)
    return figure


def _square(images: Tensor, side: int) -> Tensor:
    """Return images (n, C, H, W) as a grid (side, side, C, H, W), row by row, filled up with white."""
    white = images.new_ones(side**2 - len(images), *images.shape[1:])
    return torch.cat([images, white]).reshape(side, side, *images.shape[1:])
