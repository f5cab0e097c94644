"""I(z_d; v_k) / H(v_k), latents by factors, and its gap between the best two latents of a factor: Chen et al. 2018.

Binned as metric mig/histogram bins, so that the mean gap over the images that are drawn is that metric of them.
"""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from disvae.pictures.factor_shares import tracking
from disvae.pictures.figure_data import FigureData
from disvae.pictures.style import INACTIVE, MODEL, TABLE, write_cells
from disvae.statistics.information import gaps
from disvae.vae import VAE


def mutual_information(vae: VAE, view: FigureData, *, most: int = 16) -> Figure:
    """A row for each of at most `most` latents and of those that are best or second at a factor; a column per factor.

    Framed are the best latent of a factor, and the second best with a thinner, broken line.
    """
    shares, latents, names = tracking(view), view.latents, view.encoding.factor_names
    gap = gaps(shares)
    best = np.argsort(-shares, axis=0, kind="stable")[:2]  # (2, K); a single latent has no second
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
    axes.set_xticks(range(K), [f"{name}\ngap {value:.2f}" for name, value in zip(names, gap, strict=True)], fontsize=9)
    axes.set_xlabel(
        "framed: the latent that knows most of a factor, broken: the second; gap: between the two", fontsize=8
    )
    bar = figure.colorbar(image, ax=axes, fraction=0.05, pad=0.02)
    bar.set_label("share of the factor known, I(z;v) / H(v)", fontsize=9)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    figure.suptitle(
        f"Mutual information gap (MIG) {gap.mean():.3f}: what each latent knows of each factor", fontsize=10
    )
    return figure
