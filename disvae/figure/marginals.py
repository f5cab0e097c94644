"""q(z_d) = (1/N) sum_n q(z_d|x_n) and p(z_d) of each latent, with the mean width of an encoding q(z_d|x)."""

import torch
from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.style import DATA, INACTIVE, MODEL, clear
from disvae.statistics import densities
from disvae.statistics.densities import density_of_latent, line_across
from disvae.vae import VAE

PLACES = 201
"""Number of grid points: odd, so that the middle, where a spike may be, is one; more for narrow encodings."""

DENSITIES = 2**23
"""Most densities computed over all encodings of a latent when narrow encodings need more grid points."""

COLUMNS = 4
PEAKED = 20.0
"""A panel gets a logarithmic axis if the prior's peak is more than this many times its mean density."""


@torch.no_grad()
def marginals(vae: VAE, view: FigureData, *, most: int = 12, inactive: int = 2) -> Figure:
    """Return a panel for each of at most `most` latents: densities of q(z_d) and p(z_d), and a bar of the mean width.

    The limits depend on the prior alone. A prior with a spike (sparse) gets a logarithmic axis, since on a linear axis
    the spike would hide everything else.

    Raises:
        NotDrawable: the run has no ELBO, or the marginal densities of the posterior or the prior are not known.
    """
    view.check_densities()
    latents, shown = view.latents, view.latents.first(most, inactive)
    widths = densities.widths(view.qz_x)
    width, most_places = widths.mean(0).tolist(), min(DENSITIES // len(widths), 16 * PLACES)

    columns = min(COLUMNS, max(len(shown), 2))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(8, 1.1 + 1.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, d in zip(panels, shown, strict=False):
        low, high = view.limits[d].tolist()
        places = line_across(low, high, widths[:, d], PLACES, most_places)
        of_codes, of_prior = (density_of_latent(dist, d, places) for dist in (view.qz_x, view.pz))
        if of_codes is None or of_prior is None:
            raise NotDrawable("posterior and prior must have known marginal densities")
        z, q, p = (values.double().cpu().numpy() for values in (places, of_codes, of_prior))
        peak = p.max()
        colour = DATA if latents.active[d] else INACTIVE
        axes.fill_between(z, q, 1e-12, color=colour, alpha=0.45, linewidth=0, label="q(z), all images")
        axes.plot(z, p, color=MODEL, linewidth=1.8, label="p(z), prior")
        if peak * (z[-1] - z[0]) > PEAKED:
            axes.set_yscale("log")
            axes.set_ylim(peak / 2000, 10 * peak)
            height = 4 * peak
        else:
            axes.set_ylim(0, 2.2 * peak)
            height = 2 * peak
        middle = float(z.mean())
        axes.plot(
            [middle - width[d], middle + width[d]],
            [height, height],
            color="black",
            linewidth=2.5,
            label="one encoding, ± 1 s.d.",
            solid_capstyle="butt",
        )
        axes.text(0.98, 0.8, f"±{width[d]:.2f}", transform=axes.transAxes, ha="right", va="top", fontsize=8)
        axes.set_xlim(*view.limits[d])
        axes.set_title(latents.label(d), fontsize=8, color="black" if latents.active[d] else INACTIVE)
        clear(axes)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    log = panels[0].get_yscale() == "log"
    figure.supylabel("density, logarithmic" if log else "density", fontsize=9)
    figure.suptitle(_headline(view, width), fontsize=10)
    return figure


def _headline(view: FigureData, width: list[float]) -> str:
    busy = view.latents.busy
    said = f"Density of each latent over all images, and its prior; {len(busy)} of {len(width)} latents are active"
    return f"{said}, their encodings ±{sum(width[d] for d in busy) / len(busy):.2f} wide" if busy else said
