"""What each latent of a VAE is worth, and where its prior puts it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal, StudentT

from disvae.estimators import kl_per_dimension, marginals

ACTIVE = 0.01
"""A latent is active when its posterior mean varies by more than this over images (Burda et al. 2016)."""

SAMPLES = 100_000
"""Codes of the prior that quantiles are read from where there is no formula."""


@dataclass(frozen=True)
class Latents:
    """The D latents in order: those that know most of the image first, those that are not active last."""

    order: list[int]
    active: list[bool]  # of latent d, not of the d-th in the order
    kl: list[float] | None  # nats; None where posterior or prior have no marginals

    @property
    def busy(self) -> list[int]:
        """The active ones, in order."""
        return [d for d in self.order if self.active[d]]

    def label(self, d: int) -> str:
        """`z3`, and its KL where it is known: `z3  1.20 nats`."""
        return f"z{d}" if self.kl is None else f"z{d}  {max(self.kl[d], 0):.2f} nats"

    def first(self, most: int, inactive: int) -> list[int]:
        """At most `most` in order, with at most `inactive` of those that are not active."""
        return self.order[: min(most, len(self.busy) + inactive)]


@torch.no_grad()
def latents(qz_x: Distribution, pz: Distribution) -> Latents:
    """Of the posteriors (N,) of N images, N >= 2; the random state outside is left as it was found."""
    with seeded():
        kl = kl_per_latent(qz_x, pz)
        spread = finite_mean(qz_x).var(0)
    active = spread > ACTIVE
    worth = spread if kl is None else kl
    order = sorted(range(len(worth)), key=lambda d: (not active[d], -float(worth[d])))
    return Latents(order, active.tolist(), None if kl is None else kl.tolist())


@contextmanager
def seeded() -> Iterator[None]:
    """Draws within are always the same and leave the random state outside as it was."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def finite_mean(qz_x: Distribution) -> Tensor:
    """The means (N, D) of q(z|x), a sample where a posterior has none (a Cauchy)."""
    mean: Tensor = qz_x.mean
    return mean if mean.isfinite().all() else torch.where(mean.isfinite(), mean, qz_x.sample())


def kl_per_latent(qz_x: Distribution, pz: Distribution) -> Tensor | None:
    """The mean KL (D,) of each latent's marginal posterior to its marginal prior, nats; None where one is not known."""
    q_d, p_d = marginals(qz_x), prior_marginals(pz)
    if q_d is None or p_d is None:
        return None
    return kl_per_dimension(Independent(q_d, 1), Independent(p_d, 1), qz_x.sample())


def prior_marginals(pz: Distribution) -> Distribution | None:
    """The marginals (batch (D,), event ()) of p(z), of a mixture of normals too; None where they are not known."""
    p_d = marginals(pz)
    if p_d is None and isinstance(pz, MixtureSameFamily):
        component = marginals(pz.component_distribution)  # batch (K, D)
        if isinstance(component, Normal):
            weights = pz.mixture_distribution.logits.expand(component.loc.shape[1], -1)
            return MixtureSameFamily(Categorical(logits=weights), Normal(component.loc.T, component.scale.T))
    return p_d


def along(code: Tensor, d: int, places: Tensor) -> Tensor:
    """Codes (P, D): `code` (D,) with its latent `d` at each of `places` (P,)."""
    z = code.repeat(len(places), 1)
    z[:, d] = places
    return z


def scales(pz: Distribution) -> Tensor:
    """How wide p(z) is (D,): its standard deviation, or half of what holds 68 % of it where it has none."""
    std: Tensor = pz.variance.sqrt()
    if std.isfinite().all():
        return std
    with seeded():
        places = quantiles(pz, (0.1587, 0.8413))
    half: Tensor = (places[1] - places[0]) / 2
    return half


def quantiles(pz: Distribution, probabilities: tuple[float, ...]) -> Tensor:
    """What each latent of p(z) is below with these probabilities (P,): (P, D); read from samples without a formula."""
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
        except NotImplementedError:  # how torch says that it has no formula: a mixture has no icdf
            continue
    return None


def _of_student_t(p_d: StudentT, p: Tensor) -> Tensor:
    from scipy.special import stdtrit  # other priors do without

    standard = stdtrit(p_d.df.double().cpu().numpy(), p.double().item())
    return p_d.loc + p_d.scale * torch.from_numpy(standard).to(p_d.loc)


def _bisected(p_d: Distribution, p: Tensor) -> Tensor:
    """Where the cumulative density of each latent (D,) is `p`, to the last bit of float32."""
    p_d.cdf(p_d.mean)  # says so if there is none
    high = torch.ones_like(p_d.mean)
    while (p_d.cdf(high) < p).any() or (p_d.cdf(-high) > p).any():
        high = 2 * high
    low = -high
    for _ in range(40):
        middle = (low + high) / 2
        below = p_d.cdf(middle) < p
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high
