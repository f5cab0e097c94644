"""q(z) = (1/N) sum_n q(z|x_n) and p(z) in a plane of two latents, as in Mathieu et al. 2019, Fig. 3.

The figure shows the overlap of the encodings and the structure of q(z).
"""

import math

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.typing import LineStyleType
from torch import Tensor
from torch.distributions import MultivariateNormal

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import MODEL, clear
from disvae.statistics.aggregate_posterior import Aggregate
from disvae.statistics.densities import covariance_of_pair, density_of_pair, line_across, widths
from disvae.statistics.latents import scales
from disvae.vae import VAE

BANDS = {0.95: "#DCEAF7", 0.75: "#A6CBE8", 0.5: "#5A9BCB", 0.25: "#0B4F86"}
"""Shares of q(z) that its densest regions contain, with their colours."""

LINES: dict[float, LineStyleType] = {0.95: "--", 0.5: "-"}
"""Shares of p(z) that its contour lines enclose, with their line styles."""

ENCODINGS = 10_000
"""Number of images that q(z) averages over; a quarter of it for full covariances, which take longer."""

PLACES, MOST_PLACES = 301, 1201
"""Number of grid points along each latent, and the most that narrow encodings may need."""

DENSITIES, JOINT_DENSITIES = 2**23, 2**26
"""Most densities computed over all encodings: along one latent, and in the plane for full covariances."""

TINY = 1e-300  # avoids a division by zero and log(0)

PRIOR_LEVELS = (0.1, 0.5)
"""Levels of the prior's contours, as shares of its highest density."""


@torch.no_grad()
def aggregate_posterior(vae: VAE, view: FigureData, *, encodings: int = 30) -> Figure:
    """Return q(z) as bands, p(z) as contour lines, and ellipses of `encodings` single encodings q(z|x).

    The plane holds the two latents with the highest KL; the others are integrated out. Its limits are quantiles of the
    prior. Ellipses overlap where images share codes; bands differ from the lines where q(z) differs from the prior.

    Raises:
        NotDrawable: the run has no ELBO, the VAE has fewer than two latents, or the prior no known densities of two.
    """
    view.check_densities()
    D = len(view.latents.order)
    if D < 2:
        raise NotDrawable(f"z_dim must be at least 2, got {D}")
    pair = (view.latents.order[0], view.latents.order[1])
    joint = isinstance(view.qz_x, MultivariateNormal)
    qz_x = FigureData(view.encoding.take(view.sample(ENCODINGS // 4 if joint else ENCODINGS))).qz_x
    across, up = (_line(view, d, widths(qz_x)[:, d], joint) for d in pair)
    try:
        of_codes, of_prior = (_cells(density_of_pair(dist, pair, across, up)) for dist in (qz_x, view.pz))
    except ValueError as error:
        raise NotDrawable(f"densities in a plane are not known: {error}") from error

    figure = Figure(figsize=(7, 7.6), layout="constrained")
    axes = figure.subplots()
    plane = (across.cpu().numpy(), up.cpu().numpy())
    shares, colours = list(BANDS), list(BANDS.values())
    levels = _levels(of_codes, shares)
    axes.contourf(*plane, of_codes.T, levels=[*levels, of_codes.max() * 1.01], colors=colours)
    levels = _levels(of_prior, list(LINES))
    axes.contour(*plane, of_prior.T, levels=levels, colors=MODEL, linewidths=2, linestyles=list(LINES.values()))
    single = view.sample(encodings)
    centres = view.codes[single][:, list(pair)]
    axes.add_collection(_ellipses(axes, centres, covariance_of_pair(FigureData(view.encoding.take(single)).qz_x, pair)))
    axes.scatter(centres[:, 0], centres[:, 1], s=6, color="black", zorder=4)
    axes.set_xlim(*view.limits[pair[0]])
    axes.set_ylim(*view.limits[pair[1]])
    axes.set_aspect("equal")
    axes.set_xlabel(view.latents.label(pair[0]), fontsize=9)
    axes.set_ylabel(view.latents.label(pair[1]), fontsize=9)
    clear(axes)
    handles = [
        *(Patch(color=colour, label=f"{100 * share:.0f} % of q(z), all images") for share, colour in BANDS.items()),
        *(
            Line2D([], [], color=MODEL, linewidth=2, linestyle=line, label=f"{100 * share:.0f} % of p(z), prior")
            for share, line in LINES.items()
        ),
        Line2D(
            [],
            [],
            color="black",
            marker="o",
            markersize=9,
            markerfacecolor="none",
            linestyle="",
            label=f"q(z|x) of {len(single)} images, ± 1 s.d.",
        ),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    divergence = float((of_codes * np.log(np.maximum(of_codes, TINY) / np.maximum(of_prior, TINY))).sum())
    width = (widths(view.qz_x).mean(0) / scales(view.pz))[list(pair)].mean().item()
    seen = [(line >= view.limits[d, 0]) & (line <= view.limits[d, 1]) for line, d in zip(plane, pair, strict=True)]
    outside = 1 - of_codes[np.ix_(*seen)].sum()
    figure.suptitle(
        f"Structure: KL(q‖p) is {divergence:z.2f} nats in this plane"
        + (f", {100 * outside:.0f} % of q(z) is off the picture" if outside > 0.005 else "")
        + f"\nOverlap: an encoding is {width:z.2f} times as wide as the prior",
        fontsize=10,
    )
    return figure


def _line(view: FigureData, d: int, widths: Tensor, joint: bool) -> Tensor:
    """Return grid points (F,) of latent d: its limits, extended to all codes but by at most the width of the limits."""
    low, high = view.limits[d]
    codes = view.codes[:, d]
    room, N = 3 * widths.mean().item(), len(widths)
    return line_across(
        float(np.clip(codes.min() - room, 2 * low - high, low)),
        float(np.clip(codes.max() + room, high, 2 * high - low)),
        widths,
        PLACES // 2 if joint else PLACES,
        min(math.isqrt(JOINT_DENSITIES // N) if joint else DENSITIES // N, MOST_PLACES),
    )


def _cells(density: Tensor) -> np.ndarray:
    """Return the probabilities (F, S) of the cells of the grid; they add up to 1."""
    cells: np.ndarray = density.double().cpu().numpy()
    cells /= max(cells.sum(), TINY)
    return cells


def _levels(cells: np.ndarray, shares: list[float]) -> list[float]:
    """Return for each share the density at which the densest cells hold it; shares must decrease, levels increase."""
    descending = np.sort(cells, axis=None)[::-1]
    last = np.searchsorted(descending.cumsum(), shares)
    levels: list[float] = descending[np.minimum(last, len(descending) - 1)].tolist()
    for i in range(1, len(levels)):  # one cell may hold several shares
        levels[i] = max(levels[i], np.nextafter(levels[i - 1], np.inf))
    return levels


def _ellipses(axes: Axes, centres: np.ndarray, covariances: Tensor) -> EllipseCollection:
    """Return ellipses of one standard deviation for covariances (n, 2, 2) around centres (n, 2)."""
    variances, directions = np.linalg.eigh(covariances.double().cpu().numpy())
    sides = 2 * np.sqrt(np.maximum(variances, 0))
    angles = np.degrees(np.arctan2(directions[:, 1, 0], directions[:, 0, 0]))
    return EllipseCollection(
        sides[:, 0], sides[:, 1], angles, units="xy", offsets=centres, offset_transform=axes.transData,
        facecolors="none", edgecolors="black", linewidths=0.8, zorder=4,
    )  # fmt: skip


@torch.no_grad()
def draw_plane(axes: Axes, vae: VAE, x: Tensor, *, extent: float = 2.0, points: int = 300) -> None:
    """Draw the density of q(z), clipped at 1, on [-extent, extent]^2, with contours of p(z).

    q(z) averages over all images `x` (N, C, H, W). Densities are per unit of area.

    Raises:
        ValueError: the VAE does not have two latents.
    """
    if vae.prior.z_dim != 2:
        raise ValueError(f"z_dim must be 2 to draw q(z) in a plane, got {vae.prior.z_dim}")
    line = torch.linspace(-extent, extent, points)
    grid = torch.cartesian_prod(line, line)  # (points^2, 2), first latent slowest
    log_qz = Aggregate(vae.posterior, vae.outputs(x)).log_density(grid)
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
