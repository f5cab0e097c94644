"""Mean |posterior mean| of each latent over the images of a class: which latents a class uses.

Mathieu et al. 2019, section 5.
"""

import numpy as np
from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import FEW, INACTIVE, TABLE, class_text, write_cells
from disvae.statistics.latents import scales
from disvae.vae import VAE

MOST = 2.0
"""Upper end of the colours, in standard deviations of the prior; codes drawn from a Gaussian prior have 0.8."""


def magnitude(vae: VAE, view: FigureData, *, most: int = 50) -> Figure:
    """Return a row for each class (or value of the first factor that varies) and a column for each of `most` latents.

    Raises:
        NotDrawable: the dataset has neither factors nor labels that vary.
    """
    factors = view.encoding.factors
    varying = [k for k, column in enumerate(factors.T) if len(np.unique(column)) > 1]
    if not varying:
        raise NotDrawable("the dataset must have factors or labels")
    name, labels = view.encoding.factor_names[varying[0]], factors[:, varying[0]]
    values = np.unique(labels)
    latents, shown = view.latents, view.latents.order[:most]
    relative = np.abs(view.codes) / scales(view.pz).double().cpu().numpy()
    mean = np.stack([relative[labels == value].mean(0) for value in values])  # (C, D)

    figure = Figure(figsize=(8, 1.5 + 0.3 * max(len(values), 3)), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(mean[:, shown], cmap=TABLE, vmin=0, vmax=MOST, aspect="auto", interpolation="nearest")
    write_cells(axes, mean[:, shown] if len(shown) <= FEW else np.empty((0, 0)), dark=0.6 * MOST)
    called = [f"{name} {class_text(view.encoding.class_name(varying[0], value))}" for value in values]
    axes.set_yticks(range(len(values)), called, fontsize=8)
    every = -(-len(shown) // 25)  # leave out names that would overlap
    axes.set_xticks(range(0, len(shown), every), [f"z{d}" for d in shown[::every]], fontsize=8)
    for label, d in zip(axes.get_xticklabels(), shown[::every], strict=True):
        label.set_color("black" if latents.active[d] else INACTIVE)
    axes.set_xlabel("latents, by KL; grey: inactive", fontsize=9)
    bar = figure.colorbar(image, ax=axes, extend="max", fraction=0.04, pad=0.02)
    bar.set_label("mean |posterior mean|\n(s.d. of p(z))", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    used, D = np.mean([_half(row) for row in mean]), len(latents.order)
    said = f"Mean distance of each latent from zero by {name}; on average {used:.1f} of {D} latents carry half of it"
    figure.suptitle(said, fontsize=10)
    return figure


def _half(row: np.ndarray) -> int:
    """Return the smallest number of these magnitudes (D,) that add up to half of their sum."""
    descending = np.sort(row)[::-1].cumsum()
    return int(np.searchsorted(descending, descending[-1] / 2)) + 1
