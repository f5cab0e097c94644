"""q(z) = (1/N) sum_n q(z|x_n) over a plane of two latents, with p(z): overlap and structure at a glance.

The picture of Mathieu et al. 2019, Fig. 3.
"""

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from disvae.aggregate import Aggregate
from disvae.vae import VAE

PRIOR_LEVELS = (0.1, 0.5)
"""Contours of the prior, as shares of its highest density."""


@torch.no_grad()
def draw_plane(axes: Axes, vae: VAE, x: Tensor, *, extent: float = 2.0, points: int = 300) -> None:
    """Density of q(z), per unit of area, on [-extent, extent]^2, clipped at 1, and contours of p(z).

    `x` (N, C, H, W) are all the images q(z) averages over.

    Raises:
        ValueError: the VAE does not have two latents.
    """
    if vae.prior.z_dim != 2:
        raise ValueError(f"z_dim must be 2 to draw q(z) in a plane, got {vae.prior.z_dim}")
    line = torch.linspace(-extent, extent, points)
    grid = torch.cartesian_prod(line, line)  # (points^2, 2), first latent slowest
    log_qz = Aggregate(vae.posterior, vae.model.encoder(x)).log_density(grid)
    pz = vae.prior().log_prob(grid).exp()
    square = (points, points)
    axes.imshow(
        log_qz.exp().reshape(square).T.numpy(),
        origin="lower",
        extent=(-extent, extent, -extent, extent),
        cmap="viridis",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    peak = pz.max().item()
    axes.contour(
        line.numpy(),
        line.numpy(),
        pz.reshape(square).T.numpy(),
        levels=[share * peak for share in PRIOR_LEVELS],
        colors="white",
        linewidths=0.8,
    )
    axes.set_aspect("equal")
    axes.set_xticks(np.arange(-extent, extent + 0.5, extent))
    axes.set_yticks(np.arange(-extent, extent + 0.5, extent))
