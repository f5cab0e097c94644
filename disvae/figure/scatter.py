"""Posterior means of images, two latents at a time, coloured by class or by a factor."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from disvae.pictures.factor_shares import factor_shares
from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import AMOUNT, COLOURS, DATA, class_text, clear
from disvae.vae import VAE

MARKS = ("o", "x")
FEW = len(COLOURS) * len(MARKS)
"""Most values of a factor that colours and marks can tell apart; more values become shades of one colour map."""


def scatter(vae: VAE, view: FigureData, *, most: int = 4, images: int = 2000) -> Figure:
    """Return a panel for each pair of the `most` latents with the highest KL, with `images` points in each.

    Colours show the factor that these latents know best; without factors all points have one colour. Limits depend on
    the prior alone.

    Raises:
        NotDrawable: there are fewer than two latents to show.
    """
    shown = view.latents.order[: min(max(len(view.latents.busy), 2), most)]
    if len(shown) < 2:
        raise NotDrawable(f"most must be at least 2, got {most}" if most < 2 else "z_dim must be at least 2")
    rows = view.sample(images)
    codes, n = view.codes[rows], len(shown) - 1
    figure = Figure(figsize=(8, 7.2 if n > 1 else 5.4), layout="constrained")
    panels = figure.subplots(n, n, squeeze=False)
    shares = factor_shares(view) if view.encoding.factors.shape[1] else None
    # A share is at most 1, so a factor that is followed comes before one whose share can be chance.
    k = None if shares is None else int((shares.known + shares.follows)[shown].max(0).argmax())
    values = None if k is None else view.encoding.factors[rows, k]
    for (i, j), axes in np.ndenumerate(panels):
        if j > i:
            axes.set_visible(False)
            continue
        across, up = shown[j], shown[i + 1]
        _points(axes, codes[:, across], codes[:, up], values)
        axes.set_xlim(*view.limits[across])
        axes.set_ylim(*view.limits[up])
        clear(axes)
        if i == n - 1:
            axes.set_xlabel(view.latents.label(across), fontsize=9)
        if j == 0:
            axes.set_ylabel(view.latents.label(up), fontsize=9)
    said = f"Posterior means of {len(rows):,} images"
    if shares is not None and k is not None and values is not None:
        name = view.encoding.factor_names[k]
        labels = [class_text(view.encoding.class_name(k, kind)) for kind in np.unique(values)]
        _legend(figure, panels, name, values, labels)
        said += f", coloured by {name}"
        if shares.follows[shown, k].any():
            said += f"; one of these latents knows {100 * shares.known[shown, k].max():.0f}\u00a0% of it"
    figure.suptitle(said, fontsize=10)
    return figure


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, values: np.ndarray | None) -> None:
    if values is None:
        axes.scatter(x, y, s=5, color=DATA, alpha=0.5, linewidths=0)
        return
    kinds = np.unique(values)
    if len(kinds) > FEW:
        axes.scatter(x, y, c=values, cmap=AMOUNT, s=6, alpha=0.8, linewidths=0)
        return
    for place, kind in enumerate(kinds):
        mark = MARKS[place // len(COLOURS)]
        style = {"s": 6, "linewidths": 0} if mark == "o" else {"s": 8, "linewidths": 0.8}
        of_kind = values == kind
        axes.scatter(
            x[of_kind],
            y[of_kind],
            color=COLOURS[place % len(COLOURS)],
            marker=mark,
            alpha=0.7,
            **style,
        )


def _legend(figure: Figure, panels: np.ndarray, name: str, values: np.ndarray, labels: list[str]) -> None:
    """Put the legend in the empty corner above the diagonal, or beside a single panel."""
    if len(labels) > FEW:
        shades = ScalarMappable(Normalize(values.min(), values.max()), AMOUNT)
        bar = figure.colorbar(shades, ax=panels, fraction=0.03, pad=0.02, aspect=40)
        bar.set_label(f"value of {name}", fontsize=9)
        bar.ax.tick_params(labelsize=8)
        return
    style: dict[str, Any] = {"title": name, "fontsize": 9, "markerscale": 3, "frameon": False}
    if len(panels) > 1:
        style |= {"loc": "upper right", "bbox_to_anchor": (1, 1), "bbox_transform": panels[0, -1].transAxes}
    else:
        style["loc"] = "outside right center"
    figure.legend(panels[-1, 0].collections, labels, **style)
