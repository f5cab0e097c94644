"""How much each latent of a VAE encodes, and where its prior puts it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal, StudentT

from disvae.distribution.joint import Joint, OneHot
from disvae.estimators import kl_per_dimension, marginals

ACTIVE = 0.01
"""A latent is active when its posterior mean varies by more than this over images (Burda et al. 2016)."""

SAMPLES = 100_000
"""How many codes of the prior are drawn to read quantiles from if there is no formula."""


@dataclass(frozen=True)
class Latents:
    """The D latents in order: those that encode most of the image first, inactive ones last."""

    order: list[int]
    active: list[bool]  # active[d] is about latent d, not the d-th in the order
    kl: list[float] | None  # nats; None where posterior or prior have no marginals
    names: Sequence[str] = ()  # what each latent is for, if the objective says it

    @property
    def busy(self) -> list[int]:
        """Return the active latents, in order."""
        return [d for d in self.order if self.active[d]]

    def label(self, d: int) -> str:
        """Return a name such as `z3` or `z3 posX`, with the KL where it is known: `z3 1.20 nats`."""
        name = f"z{d} {self.names[d]}" if self.names else f"z{d}"
        return name if self.kl is None else f"{name}  {max(self.kl[d], 0):.2f} nats"

    def first(self, most: int, inactive: int) -> list[int]:
        """Return at most `most` latents in order, at most `inactive` of them inactive."""
        return self.order[: min(most, len(self.busy) + inactive)]


@torch.no_grad()
def latents(qz_x: Distribution, pz: Distribution) -> Latents:
    """Return the order of the latents for posteriors (N,) of N >= 2 images; the global random state is kept."""
    with seeded():
        kl = kl_per_latent(qz_x, pz)
        spread = finite_mean(qz_x).var(0)
    active = spread > ACTIVE
    worth = spread if kl is None else kl
    order = sorted(range(len(worth)), key=lambda d: (not active[d], -float(worth[d])))
    return Latents(order, active.tolist(), None if kl is None else kl.tolist())


def informative(codes: np.ndarray) -> np.ndarray:
    """Return the codes (N, D) of a model; without an active latent they are constant, so that noise scores nothing."""
    return codes if (codes.var(0) > ACTIVE).any() else np.zeros_like(codes)


@contextmanager
def seeded() -> Iterator[None]:
    """Make the draws within the block always the same, and keep the global random state."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def finite_mean(qz_x: Distribution) -> Tensor:
    """Return the means (N, D) of q(z|x), or a sample where a posterior has no mean (a Cauchy)."""
    mean: Tensor = qz_x.mean
    return mean if mean.isfinite().all() else torch.where(mean.isfinite(), mean, qz_x.sample())


def kl_per_latent(qz_x: Distribution, pz: Distribution) -> Tensor | None:
    """Return the mean KL (D,) in nats of each latent's marginal posterior to its prior; None if unknown or infinite."""
    q_d, p_d = marginals(qz_x), prior_marginals(pz)
    if q_d is None or p_d is None:
        return None
    kl = kl_per_dimension(Independent(q_d, 1), Independent(p_d, 1), qz_x.sample())
    return None if kl is None or kl.isinf().any() else kl


def prior_marginals(pz: Distribution) -> Distribution | None:
    """Return the marginals (batch (D,), event ()) of p(z), a mixture of normals included; None if they are unknown."""
    p_d = marginals(pz)
    if p_d is None and isinstance(pz, MixtureSameFamily):
        component = marginals(pz.component_distribution)  # batch (K, D)
        if isinstance(component, Normal):
            weights = pz.mixture_distribution.logits.expand(component.loc.shape[1], -1)
            return MixtureSameFamily(Categorical(logits=weights), Normal(component.loc.T, component.scale.T))
    return p_d


def along(code: Tensor, d: int, places: Tensor, pz: Distribution) -> Tensor:
    """Return codes (P, D): `code` (D,) with its latent `d` at each of `places` (P,).

    If `d` is a category of the prior `pz`, the others of its code share what is left of 1 in their proportions.
    """
    z = code.repeat(len(places), 1)
    start = 0
    for part in pz.parts if isinstance(pz, Joint) else ():
        own = slice(start, start := start + part.event_shape[0])
        if own.start <= d < own.stop and isinstance(part, OneHot):
            rest = code[own].clamp(min=1e-6)
            rest[d - own.start] = 0
            z[:, own] = (1 - places)[:, None] * rest / rest.sum()
    z[:, d] = places
    return z


def scales(pz: Distribution) -> Tensor:
    """Return the width (D,) of p(z): its standard deviation, or half of what holds 68 % if that is unknown."""
    try:
        std: Tensor = pz.variance.sqrt()
    except NotImplementedError:
        std = torch.full(pz.event_shape, torch.nan)
    if std.isfinite().all():
        return std
    with seeded():
        places = quantiles(pz, (0.1587, 0.8413))
    half: Tensor = (places[1] - places[0]) / 2
    return half


def quantiles(pz: Distribution, probabilities: tuple[float, ...]) -> Tensor:
    """Return each latent's quantiles (P, D) under p(z) at probabilities (P,), from samples if no formula exists."""
    places = _by_formula(pz, probabilities)
    if places is not None:
        return places
    codes = pz.sample((SAMPLES,))
    return torch.from_numpy(np.quantile(codes.cpu().numpy(), probabilities, axis=0)).to(codes)


def _by_formula(pz: Distribution, probabilities: tuple[float, ...]) -> Tensor | None:
    p_d = prior_marginals(pz)
    if p_d is None:
        return None
    formula = partial(_of_student_t, p_d) if isinstance(p_d, StudentT) else p_d.icdf
    for inverse in (formula, partial(_bisected, p_d)):
        try:
            return torch.stack([inverse(torch.tensor(p)) for p in probabilities])
        except NotImplementedError:  # torch has no formula: a mixture has no icdf
            continue
    return None


def _of_student_t(p_d: StudentT, p: Tensor) -> Tensor:
    from scipy.special import stdtrit  # slow to import; other priors do not need it

    standard = stdtrit(p_d.df.double().cpu().numpy(), p.double().item())
    return p_d.loc + p_d.scale * torch.from_numpy(standard).to(p_d.loc)


def _bisected(p_d: Distribution, p: Tensor) -> Tensor:
    """Return where the cumulative density of each latent (D,) is `p`, to the last bit of float32."""
    p_d.cdf(p_d.mean)  # raises NotImplementedError if there is none
    high = torch.ones_like(p_d.mean)
    while (p_d.cdf(high) < p).any() or (p_d.cdf(-high) > p).any():
        high = 2 * high
    low = -high
    for _ in range(40):
        middle = (low + high) / 2
        below = p_d.cdf(middle) < p
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high
