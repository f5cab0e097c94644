"""p(x|z) along one latent at a time, the others as in a fixed image: what each latent came to mean.

A latent takes the values that its prior is below with given probabilities, so that steps are equally likely whatever
the prior: a Gaussian's are equal steps from -2 to 2 standard deviations, a sparse prior's stay where its mass is.
"""

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from disvae.estimators import kl_per_dimension, marginals
from disvae.vae import VAE

PROBABILITIES = tuple(Normal(0.0, 1.0).cdf(torch.linspace(-2, 2, 9)).tolist())
"""Of the columns: 2.3 %, 6.7 %, 16 %, 31 %, 50 %, 69 %, 84 %, 93 %, 98 %."""

ACTIVE = 0.01
"""A latent is active when its posterior mean varies by more than this over images (Burda et al. 2016)."""

OWN = "#D55E00"  # Okabe and Ito's vermilion

SAMPLES = 100_000
"""Codes of the prior that quantiles are read from where there is no formula."""


@torch.no_grad()
def traversal(vae: VAE, x: Tensor, *, title: str = "", most: int = 12, inactive: int = 2) -> Figure:
    """A row for each of at most `most` latents, most informative first, and a column for each quantile of its prior.

    `x` (N, C, H, W), N >= 2: the first image is the fixed one; all of them tell how much each latent knows: the mean
    KL of its posterior to its prior, in nats. Latents that are not active come last, in grey, at most `inactive` of
    them, since they all look like the reconstruction.

    Raises:
        ValueError: `x` are no pictures, or a single one.
    """
    if x.dim() != 4 or len(x) < 2 or min(x.shape[2:]) < 2 or x.shape[1] not in (1, 3):
        raise ValueError(f"x must be at least two pictures (N, 1 or 3, H, W), got {tuple(x.shape)}")
    with torch.random.fork_rng([x.device] if x.device.type == "cuda" else []):
        torch.manual_seed(0)
        qz_x, pz = vae.encode(x), vae.prior()
        places = quantiles(pz, PROBABILITIES)
        kl = kl_per_latent(qz_x, pz)
        mean = torch.where(qz_x.mean.isfinite(), qz_x.mean, qz_x.sample())  # a Cauchy posterior has no mean
    spread = mean.var(0)
    active = spread > ACTIVE
    order = ranked(spread if kl is None else kl, active)
    busy = int(active.sum())
    shown = order[: min(most, busy + inactive)]
    images = _along(vae, mean[0], places, shown)
    fixed = torch.stack([x[0], vae.decode(mean[:1]).mean[0]])[:, None]
    own = (mean[0] - places).abs().argmin(0)  # (D,): the column nearest to the image's own code

    rows, (H, W) = len(shown), x.shape[2:]
    figure = Figure(figsize=(8.4, 1.0 + 0.72 * max(rows, 2) * H / W), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, len(PROBABILITIES)))
    _draw(left, fixed)
    left.set_xticks([])
    left.set_yticks([H / 2, H * 3 / 2], ["image", "reconstruction"], rotation=90, va="center")
    left.set_anchor("N")
    _draw(right, images)
    percent = [f"{100 * p:.2g} %" for p in PROBABILITIES]
    right.set_xticks([W * (column + 0.5) - 0.5 for column in range(len(percent))], percent)
    names = [f"z{d}" if kl is None else f"z{d}  {max(float(kl[d]), 0):.2f} nats" for d in shown]
    right.set_yticks([H * (row + 0.5) - 0.5 for row in range(rows)], names)
    for row, d in enumerate(shown):
        if active[d]:
            corner = (W * int(own[d]) - 0.5, H * row - 0.5)
            right.add_patch(Rectangle(corner, W, H, fill=False, edgecolor=OWN, linewidth=2, zorder=3))
        else:
            right.axhspan(H * row - 0.5, H * (row + 1) - 0.5, color="white", alpha=0.65, linewidth=0, zorder=2)
            right.get_yticklabels()[row].set_color("0.5")
    right.set_anchor("N")
    right.xaxis.tick_top()
    right.set_xlabel("quantiles of each latent's prior; framed: the nearest to the image's own code", fontsize=9)
    for axes in (left, right):
        axes.tick_params(length=0, labelsize=8)
    said = [title] if title else []
    if busy < len(order) or rows < len(order):
        inactive_shown = max(rows - busy, 0)
        grey = f", {inactive_shown} of the others in grey" if inactive_shown else ""
        said.append(f"{busy} of {len(order)} latents are active, {min(rows, busy)} of them shown{grey}")
    figure.suptitle("\n".join(said), fontsize=10)
    return figure


def quantiles(pz: Distribution, probabilities: tuple[float, ...]) -> Tensor:
    """What each latent of p(z) is below with these probabilities (P,): (P, D); read from samples without a formula."""
    places = _by_formula(pz, probabilities)
    if places is not None:
        return places
    codes = pz.sample((SAMPLES,))
    return torch.from_numpy(np.quantile(codes.cpu().numpy(), probabilities, axis=0)).to(codes)


def _by_formula(pz: Distribution, probabilities: tuple[float, ...]) -> Tensor | None:
    p_d = marginals(pz)
    try:
        return None if p_d is None else torch.stack([p_d.icdf(torch.tensor(p)) for p in probabilities])
    except NotImplementedError:  # how torch says that it has no formula: Student-t, mixtures
        return None


def kl_per_latent(qz_x: Distribution, pz: Distribution) -> Tensor | None:
    """The mean KL (D,) of each latent's marginal posterior to its marginal prior, nats; None where one is not known."""
    q_d, p_d = marginals(qz_x), marginals(pz)
    if p_d is None and isinstance(pz, MixtureSameFamily):
        component = marginals(pz.component_distribution)  # batch (K, D)
        if isinstance(component, Normal):
            weights = pz.mixture_distribution.logits.expand(component.loc.shape[1], -1)
            of_each = Normal(component.loc.T, component.scale.T)
            p_d = MixtureSameFamily(Categorical(logits=weights), of_each)
    if q_d is None or p_d is None:
        return None
    return kl_per_dimension(Independent(q_d, 1), Independent(p_d, 1), qz_x.sample())


def ranked(worth: Tensor, active: Tensor) -> list[int]:
    """Latents by `worth` (D,), the greatest first, those that are not `active` (D,) after all others."""
    return sorted(range(len(worth)), key=lambda d: (not active[d], -float(worth[d])))


def _along(vae: VAE, code: Tensor, places: Tensor, latents: list[int]) -> Tensor:
    """Decoded means (rows, columns, C, H, W) of `code` (D,) with one of `latents` at each of its `places` (P, D)."""
    rows = []
    for d in latents:
        z = code.repeat(len(places), 1)
        z[:, d] = places[:, d]
        rows.append(vae.decode(z).mean)
    return torch.stack(rows)


def _draw(axes: Axes, images: Tensor) -> None:
    """A grid (rows, columns, C, H, W) of pictures as one, without gaps."""
    rows, columns, C, H, W = images.shape
    whole = images.clamp(0, 1).permute(0, 3, 1, 4, 2).reshape(rows * H, columns * W, C).cpu().numpy()
    axes.imshow(whole[..., 0] if C == 1 else whole, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.spines[:].set_visible(False)
    for row in range(1, rows):
        axes.axhline(row * H - 0.5, color="white", linewidth=1.5)
    for column in range(1, columns):
        axes.axvline(column * W - 0.5, color="white", linewidth=1.5)
