"""Pearson correlations of the posterior means of latents over images."""

import numpy as np
from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import FEW, INACTIVE, SIGNED, write_cells
from disvae.vae import VAE


def correlation(vae: VAE, view: FigureData, *, most: int = 30, inactive: int = 2) -> Figure:
    """Return a matrix of at most `most` latents, highest KL first; at most `inactive` of them are inactive and grey.

    Raises:
        NotDrawable: the VAE has fewer than two latents.
    """
    latents, shown = view.latents, view.latents.first(most, inactive)
    D = len(latents.order)
    if D < 2:
        raise NotDrawable("z_dim must be at least 2")
    varies = np.array(latents.active)
    r = np.full((D, D), np.nan)  # correlations of latents that hardly vary mean nothing
    r[np.ix_(varies, varies)] = np.corrcoef(view.codes[:, varies].astype(np.float64).T)
    matrix = r[np.ix_(shown, shown)]
    n = len(shown)
    side = min(0.4 * max(n, 9), 6)
    figure = Figure(figsize=(2 + side, 1 + 0.95 * side), layout="constrained")
    axes = figure.subplots()
    axes.set_facecolor("0.93")
    image = axes.imshow(matrix, cmap=SIGNED, vmin=-1, vmax=1, interpolation="nearest")
    write_cells(axes, np.where(np.eye(n, dtype=bool), np.nan, matrix) if n <= FEW else np.empty((0, 0)), dark=0.6)
    axes.set_xticks(range(n), [f"z{d}" for d in shown], fontsize=8, rotation=90 if n > 15 else 0)
    axes.set_yticks(range(n), [f"z{d}" for d in shown], fontsize=8)
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        for label, d in zip(labels, shown, strict=True):
            label.set_color("black" if latents.active[d] else INACTIVE)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02, ticks=[-1, -0.5, 0, 0.5, 1])
    bar.set_label("correlation of posterior means", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    figure.suptitle(_headline(r[np.ix_(varies, varies)], D), fontsize=10)
    return figure


def _headline(matrix: np.ndarray, D: int) -> str:
    """Return the title: the mean |correlation| of the active latents, of D in all."""
    n = len(matrix)
    if n < 2:
        return f"{n} of {D} latents {'is' if n == 1 else 'are'} active: nothing to correlate"
    mean = np.abs(matrix[~np.eye(n, dtype=bool)]).mean()
    return f"Mean |correlation| {mean:z.2f} between the {n} active latents of {D}"
