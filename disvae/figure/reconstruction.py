"""Images, the means of p(x|z) at their codes, and the difference of the two."""

import torch
from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, codes_of
from disvae.pictures.style import SIGNED, draw_images, name_images
from disvae.vae import VAE


@torch.no_grad()
def reconstruction(vae: VAE, view: FigureData, *, images: int = 12) -> Figure:
    """Return a column for each of at most `images` images: image, reconstruction, and their difference (-1 to 1)."""
    x = view.pictures(images)
    mean = vae.decode(codes_of(vae, x)).mean.clamp(0, 1)
    H, W = x.shape[-2:]
    figure = Figure(figsize=(1.3 + 0.58 * max(len(x), 6), 0.75 + 3 * 0.58 * H / W), layout="constrained")
    above, below = figure.subplots(2, 1, height_ratios=(2, 1))
    draw_images(above, torch.stack([x, mean]))
    name_images(above, x[None], rows=["image", "reconstruction"])
    difference = (mean - x).mean(1)  # over the channels
    shown = below.imshow(
        difference.permute(1, 0, 2).reshape(H, -1).cpu().numpy(), cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest"
    )
    below.spines[:].set_visible(False)
    below.tick_params(length=0, labelsize=8)
    name_images(below, x[None], rows=["difference"])
    bar = figure.colorbar(shown, ax=below, ticks=[-1, 0, 1], fraction=0.02, pad=0.01)
    bar.ax.set_yticklabels(["missing", "0", "too much"], fontsize=8)
    error = (mean - x).square().mean().item()
    said = f"Reconstructions of {len(x)} images: mean squared difference {error:.3g} per pixel"
    figure.suptitle(said, fontsize=10)
    return figure
