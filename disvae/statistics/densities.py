"""Densities of the prior and of q(z) = (1/N) sum_n q(z|x_n), along one latent and over a plane of two."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, MixtureSameFamily, MultivariateNormal, Normal

from disvae.estimators import factorised, marginals
from disvae.statistics.latents import prior_marginals

DENSITIES_AT_ONCE = 2**22
"""How many densities are computed at a time."""

Pair = tuple[int, int]

NARROW = 0.1
"""The share of encodings that may be narrower than a line of places resolves."""


def line_across(low: float, high: float, widths: Tensor, least: int, most: int) -> Tensor:
    """Return places (P,) from low to high, so close that most encodings, of `widths` (N,), contain two of them.

    Places further apart would miss single encodings or count them too often. P is odd, at least `least`, and at most
    `most` if that is more than `least`.
    """
    width = max(widths.quantile(NARROW).item(), (high - low) / 1e6)
    wanted = math.ceil(2 * (high - low) / width)
    return torch.linspace(low, high, max(least, min(wanted, most)) | 1, device=widths.device)


def density_of_latent(dist: Distribution, d: int, places: Tensor) -> Tensor | None:
    """Return the density (P,) of latent d at `places` (P,), the mean over the batch of `dist`.

    It is None if no marginals are known.
    """
    dist_d = prior_marginals(dist)
    return None if dist_d is None else _of_latent(dist_d, d, places).mean(1)


def density_of_pair(dist: Distribution, pair: Pair, first: Tensor, second: Tensor) -> Tensor:
    """Return the density (F, S) of a `pair` of latents, the first at `first` (F,) and the second at `second` (S,).

    It is the mean over the batch of `dist`, which has batch (N,) or () and event (D,).

    Raises:
        ValueError: `dist` is not Gaussian, and neither it nor the components that it mixes have independent latents.
    """
    if factorised(dist) is not None:
        a, b = _each(dist, pair, first, second)
        return a @ b.T / a.shape[1]
    if isinstance(dist, MixtureSameFamily):
        a, b = _each(dist.component_distribution, pair, first, second)
        return (a * dist.mixture_distribution.probs) @ b.T
    if isinstance(dist, MultivariateNormal):
        total = torch.zeros(len(first), len(second), device=first.device)
        rows = max(1, DENSITIES_AT_ONCE // total.numel())
        for of_first, given in _conditioned(dist, pair, first, rows):
            total += torch.einsum("nf,snf->fs", of_first, given.log_prob(second[:, None, None]).exp())
        return total / math.prod(dist.batch_shape)
    raise ValueError(f"latents must be independent or jointly Gaussian, got {type(dist).__name__}")


def _each(dist: Distribution, pair: Pair, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """Return the densities (F, N) and (S, N) of two latents under each distribution of the batch."""
    dist_d = factorised(dist)
    if dist_d is None:
        raise ValueError(f"latents must be independent or jointly Gaussian, got {type(dist).__name__}")
    return _of_latent(dist_d, pair[0], first), _of_latent(dist_d, pair[1], second)


def _of_latent(dist_d: Distribution, d: int, places: Tensor) -> Tensor:
    """Return densities (P, N) of latent d at `places` (P,), for independent latents (batch (..., D))."""
    if _is_made_of_parameters(dist_d):
        return _latent(dist_d, d).log_prob(places[:, None]).exp()
    shape = dist_d.batch_shape
    log_density = dist_d.log_prob(places.view(-1, *(1 for _ in shape)).expand(-1, *shape))  # of the other latents, too
    return log_density[..., d].reshape(len(places), -1).exp().nan_to_num(0.0)  # NaN: outside of the support


def _is_made_of_parameters(dist: Distribution) -> bool:
    """Return whether the parameters of a distribution are all that its class takes, so that some of it can be made."""
    if isinstance(dist, MixtureSameFamily):
        return _is_made_of_parameters(dist.component_distribution)
    try:
        named = set(dist.arg_constraints)
    except NotImplementedError:
        return False
    return named == inspect.signature(type(dist)).parameters.keys() - {"validate_args"}


def _latent(dist_d: Distribution, d: int) -> Distribution:
    """Return latent d, batch (N,), of independent latents (batch (..., D)); N = 1 for a single code."""
    if isinstance(dist_d, MixtureSameFamily):
        logits = dist_d.mixture_distribution.logits[..., d, :]  # (..., K)
        weights = Categorical(logits=logits.reshape(-1, logits.shape[-1]))
        return MixtureSameFamily(
            weights, _part(dist_d.component_distribution, (..., d, slice(None)), logits.shape[-1:])
        )
    return _part(dist_d, (..., d), torch.Size())


def _part(dist: Distribution, index: tuple[Any, ...], shape: torch.Size) -> Distribution:
    """Return the distribution with the parameters at this index of the batch, which becomes (N, *shape)."""
    kind: Callable[..., Distribution] = type(dist)
    return kind(**{name: getattr(dist, name)[index].reshape(-1, *shape) for name in dist.arg_constraints})


def _conditioned(
    dist: MultivariateNormal, pair: Pair, first: Tensor, rows: int
) -> Iterable[tuple[Tensor, Distribution]]:
    """Yield, `rows` of the batch at a time, the first latent's density (n, F) and the second latent (n, F) given it."""
    i, j = pair
    mean, covariance = dist.loc.view(-1, dist.loc.shape[-1]), dist.covariance_matrix.flatten(0, -3)
    for m, c in zip(mean.split(rows), covariance.split(rows), strict=True):
        slope = (c[:, i, j] / c[:, i, i])[:, None]
        left = (c[:, j, j, None] - slope.square() * c[:, i, i, None]).clamp(min=1e-12)
        given = Normal(m[:, j, None] + slope * (first - m[:, i, None]), left.sqrt().expand(-1, len(first)))
        yield Normal(m[:, i, None], c[:, i, i, None].sqrt()).log_prob(first).exp(), given


def widths(qz_x: Distribution) -> Tensor:
    """Return how wide each q(z|x) is (N, D): its standard deviation, or a Student-t's scale if that is not finite."""
    q_d = marginals(qz_x)
    std = (qz_x if q_d is None else q_d).variance.sqrt()
    scale = getattr(q_d, "scale", None)
    return std if scale is None or std.isfinite().all() else scale


def covariance_of_pair(qz_x: Distribution, pair: Pair) -> Tensor:
    """Return the covariances (N, 2, 2) of two latents under each q(z|x), diagonal if they are independent."""
    index = list(pair)
    if isinstance(qz_x, MultivariateNormal):
        covariance: Tensor = qz_x.covariance_matrix[:, index][:, :, index]
        return covariance
    return torch.diag_embed(widths(qz_x)[:, index].square())
