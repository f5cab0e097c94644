"""I(z_d; v_k) / H(v_k) of each latent and factor, and the gap between a factor's best two latents: Chen et al. 2018.

The bins are those of metric mig/histogram, so the mean gap is that metric, computed from the images of the figure. Few
images make shares too high: the axis says what a latent that knows nothing reaches if that is SEEN or more.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from disvae.pictures.factor_shares import factor_shares
from disvae.pictures.figure_data import FigureData
from disvae.pictures.style import INACTIVE, MODEL, TABLE, write_cells
from disvae.statistics.information import gaps
from disvae.vae import VAE

SEEN = 0.05
"""A chance level from which on it is said."""


def mutual_information(vae: VAE, view: FigureData, *, most: int = 16) -> Figure:
    """Return a row for each of `most` latents and for the best two of every factor, and a column for each factor.

    A frame marks the best latent of a factor; a thin broken frame marks the second best.

    Raises:
        NotDrawable: the dataset has neither factors nor labels.
    """
    of, latents, names = factor_shares(view), view.latents, view.encoding.factor_names
    shares, gap = of.known, gaps(of.known)
    best = np.argsort(-shares, axis=0, kind="stable")[:2]  # (2, K), or (1, K) for a single latent
    wanted = set(latents.order[:most]) | set(best.ravel().tolist())
    rows = [d for d in latents.order if d in wanted]
    shown = shares[rows]

    K = len(names)
    figure = Figure(figsize=(max(2.6 + 0.95 * K, 5.6), 1.7 + 0.34 * max(len(rows), 6)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shown, cmap=TABLE, vmin=0, vmax=1, aspect="auto")
    write_cells(axes, shown, dark=0.6)
    for k in range(K):
        for d, line, width in zip(best[:, k], ("-", (0, (3, 2))), (2.5, 1.5), strict=False):
            frame = Rectangle((k - 0.47, rows.index(d) - 0.45), 0.94, 0.9, fill=False, edgecolor=MODEL)
            frame.set(linewidth=width, linestyle=line, zorder=3)
            axes.add_patch(frame)
    axes.set_yticks(range(len(rows)), [latents.label(d) for d in rows], fontsize=9)
    for label, d in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color("black" if latents.active[d] else INACTIVE)
    several = K > 1  # the metric needs as many: one factor has no gap
    by_chance = bool((of.chance >= SEEN).any())
    lines = [list(names)]
    if several:
        lines.append([f"gap {value:.2f}" for value in gap])
    if by_chance:
        lines.append([f"chance {value:.2f}" for value in of.chance])
    axes.set_xticks(range(K), ["\n".join(column) for column in zip(*lines, strict=True)], fontsize=9)
    explained = "frame: knows most of the factor\nbroken frame: second" + "; gap: their difference" * several
    axes.set_xlabel(explained + "\nchance: a latent that knows nothing" * by_chance, fontsize=8)
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("share known, I(z;v) / H(v)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    figure.suptitle(
        f"Mutual information gap (MIG) {gap.mean():.3f}: who knows which factor?"
        if several
        else f"What each latent knows of {names[0]}",
        fontsize=10,
    )
    return figure
