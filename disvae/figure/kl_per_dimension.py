"""KL(q(z_d|x) || p(z_d)) of each latent at each validation: when each latent came into use, and how much it holds."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.typing import LineStyleType
from scipy.optimize import isotonic_regression

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import COLOURS, INACTIVE, clear
from disvae.vae import VAE

TAG = "val/kl_per_dimension/"


def kl_per_dimension(vae: VAE, view: FigureData) -> Figure:
    """Return a line for each latent; the first twelve have colours and names, the others are grey.

    Raises:
        NotDrawable: the run has no ELBO, no validation, or its KL does not split into latents.
    """
    view.check_densities()
    found = {int(tag.removeprefix(TAG)): curve for tag, curve in view.curves().items() if tag.startswith(TAG)}
    if not found:
        raise NotDrawable("the run must have a validation, and posterior and prior must factorise over latents")
    last = {d: float(curve.values[-1]) for d, curve in found.items()}
    order = [d for d in view.latents.order if d in found]
    top = 2 ** max(
        2, math.ceil(math.log2(1.05 * max(float(np.nanmax(curve.values)) for curve in found.values()) + 1e-9))
    )

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    busy = [d for d in order if view.latents.active[d]]
    named = dict(zip(busy, [*COLOURS, *COLOURS], strict=False))
    for rank, d in enumerate(order):
        style: LineStyleType = "-" if rank < len(COLOURS) or d not in named else "--"
        colour = named.get(d, "0.3" if view.latents.active[d] else INACTIVE)
        mark = "o" if len(found[d].steps) < 3 else None
        curve, width = found[d], 2 if d in named else 0.8
        axes.plot(curve.steps, curve.values, color=colour, linestyle=style, linewidth=width, marker=mark)
    places = {} if not named else _apart({d: last[d] for d in named}, top / 20, top)
    for d, colour in named.items():
        step = float(found[d].steps[-1])
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.6, "relpos": (0, 0.5), "shrinkA": 0, "shrinkB": 0}
        axes.annotate(
            f"z{d}  {last[d]:z.2f}",
            (step, last[d]),
            (1.02, places[d]),
            textcoords=axes.get_yaxis_transform(),
            color=colour,
            fontsize=9,
            va="center",
            annotation_clip=False,
            arrowprops=leader,
        )
    others = [f"{len(busy) - len(named)} more active"] if len(busy) > len(named) else []
    others += [f"{len(order) - len(busy)} inactive"] if len(order) > len(busy) else []
    axes.text(1.02, 0, "\n".join(others), transform=axes.transAxes, color="0.4", fontsize=9)
    axes.set_ylim(0, top)
    axes.set_xlim(0, max(float(curve.steps[-1]) for curve in found.values()))
    axes.set_xlabel("optimiser step", fontsize=9)
    axes.set_ylabel("KL of the latent (nats)", fontsize=9)
    clear(axes)
    axes.set_title(
        f"{len(busy)} of {len(order)} latents are active; their total KL is {sum(last.values()):z.1f} nats at the end",
        fontsize=10,
    )
    return figure


def _apart(values: dict[int, float], gap: float, top: float) -> dict[int, float]:
    """Return heights of labels between 0 and `top`: as near to their values as possible and at least `gap` apart."""
    order = sorted(values, key=lambda d: values[d])
    steps = gap * np.arange(len(order))
    heights = isotonic_regression([values[d] for d in order] - steps).x
    # The counts of the latents without a name stand below.
    heights = heights.clip(2.5 * gap, max(top - gap * len(order), 2.5 * gap)) + steps
    return dict(zip(order, heights.tolist(), strict=True))
