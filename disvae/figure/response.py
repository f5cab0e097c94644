"""Posterior means of latents against the true factors: which latent follows which factor, and how closely."""

import numpy as np
from matplotlib.figure import Figure

from disvae.pictures.factor_shares import FactorShares, factor_shares
from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import DATA, clear
from disvae.vae import VAE

FAINT = "0.55"
"""Colour of a latent and a factor that share little information."""


def response(vae: VAE, view: FigureData, *, most: int = 8) -> Figure:
    """Return a row for each of at most `most` active latents and a column for each factor: a line with a band.

    The line is the posterior mean, averaged over all images with one value of the factor. The band holds the middle
    80 % of these images: it shows the effect of the other factors. Limits are quantiles of the prior.

    Raises:
        NotDrawable: no latent is active, or the dataset has neither factors nor labels.
    """
    shares, names = factor_shares(view), view.encoding.factor_names
    rows = view.latents.busy[:most]
    if not rows:
        raise NotDrawable("at least one latent must be active")
    K = len(names)
    figure = Figure(figsize=(max(1.2 + 1.4 * K, 8), 1.2 + 0.85 * len(rows)), layout="constrained")
    panels = figure.subplots(len(rows), K, squeeze=False, sharex="col", sharey="row")
    for k, column in enumerate(view.encoding.factors.T):
        groups = _groups(column)
        values = np.array(sorted(groups))
        codes = [view.codes[groups[value]][:, rows] for value in values]
        mean = np.stack([group.mean(0) for group in codes])  # (V, rows)
        low, high = np.stack([np.quantile(group, (0.1, 0.9), axis=0) for group in codes], 1)
        for row, d in enumerate(rows):
            strong = shares.follows[d, k]
            colour = DATA if strong else FAINT
            axes = panels[row, k]
            mark = "o" if len(values) <= 10 else None
            axes.fill_between(values, low[:, row], high[:, row], color=colour, alpha=0.25, linewidth=0)
            axes.plot(values, mean[:, row], color=colour, linewidth=1.8, marker=mark, markersize=3)
            axes.set_ylim(*view.limits[d])
            clear(axes)
            if len(values) <= 10:
                axes.set_xticks(values)
            if strong:
                axes.text(
                    0.97,
                    0.95,
                    f"{shares.known[d, k]:z.2f}",
                    transform=axes.transAxes,
                    ha="right",
                    va="top",
                    fontsize=9,
                    color=colour,
                    weight="bold",
                )
            if k == 0:
                axes.set_ylabel(
                    view.latents.label(d).replace("  ", "\n"), rotation=0, ha="right", va="center", fontsize=9
                )
            if row == 0:
                axes.set_title(names[k], fontsize=10)
    figure.supxlabel("value of the factor; number: the share of the factor known, I(z;v) / H(v)", fontsize=9)
    figure.suptitle(_headline(shares, rows, names), fontsize=10)
    return figure


def _groups(column: np.ndarray) -> dict[int, np.ndarray]:
    """Return the rows of the images with each value of a factor."""
    order = np.argsort(column, kind="stable")
    values, first = np.unique(column[order], return_index=True)
    return dict(zip(values.tolist(), np.split(order, first[1:]), strict=True))


def _headline(shares: FactorShares, rows: list[int], names: tuple[str, ...]) -> str:
    follows = shares.follows[rows]
    strong = int(follows.sum())
    d, k = np.unravel_index(np.where(follows, shares.known[rows], 0).argmax(), follows.shape)
    pairs = f"the {strong} of {follows.size} pairs that are strong"
    said = f"Posterior mean (line) and 80 % of images (band); blue: {pairs}"
    return f"{said}, most z{rows[d]} and {names[k]}" if strong else said
