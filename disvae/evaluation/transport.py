"""T_j(z_j) = Phi^-1(F_j(z_j)): optimal transport of a factorised prior to the standard normal, latent by latent.

Mathieu et al. 2019 apply it to codes of a Student-t prior before scoring, because heavy tails distort scales.
"""

import numpy as np
from scipy import stats
from scipy.special import log_ndtr, log_softmax, logsumexp, ndtri_exp
from torch import Tensor
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal, StudentT

from disvae.estimators import factorised

LEAST_LOG_TAIL = -744.0
"""Logarithm of the smallest positive number, at which the tail of a Student-t is cut off."""


def to_gaussian(codes: np.ndarray, prior: Distribution) -> np.ndarray | None:
    """Return codes (N, D) after the map that makes samples of the prior standard normal.

    The result is None for a Gaussian prior, isotropic or not, because the map would only shift and scale. The order of
    codes within a latent is kept, even far out in both tails.

    Raises:
        ValueError: the latents of the prior depend on each other, or the quantiles of its family are not implemented.
    """
    latents = factorised(prior)
    if latents is None:
        raise ValueError(
            f"prior must factorise over latents to have a map to the Gaussian, got {type(prior).__name__}: "
            "type score.transport=false"
        )
    if isinstance(latents, Normal):
        return None
    log_cdf, log_sf = _log_tails(codes.astype(np.float64), latents)
    # each code uses its nearer tail, whose probability has full precision
    lower = ndtri_exp(np.minimum(log_cdf, -np.log(2)))
    upper = -ndtri_exp(np.minimum(log_sf, -np.log(2)))
    moved: np.ndarray = np.where(log_cdf < log_sf, lower, upper).astype(codes.dtype)
    return moved


def _log_tails(z: np.ndarray, latents: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Return log F_j(z_j) and log(1 - F_j(z_j)), both of shape (N, D)."""
    if isinstance(latents, Laplace):
        law = stats.laplace(_numpy(latents.loc), _numpy(latents.scale))
        return law.logcdf(z), law.logsf(z)
    if isinstance(latents, StudentT):
        law = stats.t(_numpy(latents.df), _numpy(latents.loc), _numpy(latents.scale))
        with np.errstate(divide="ignore"):  # log 0 far out
            return law.logcdf(z).clip(LEAST_LOG_TAIL), law.logsf(z).clip(LEAST_LOG_TAIL)
    if isinstance(latents, MixtureSameFamily) and isinstance(latents.component_distribution, Normal):
        weights: Categorical = latents.mixture_distribution
        log_weight = log_softmax(_numpy(weights.logits), axis=1)  # (D, K)
        components = latents.component_distribution
        standard = (z[:, :, None] - _numpy(components.loc)) / _numpy(components.scale)  # (N, D, K)
        return (
            logsumexp(log_weight + log_ndtr(standard), axis=2),
            logsumexp(log_weight + log_ndtr(-standard), axis=2),
        )
    raise ValueError(f"prior must be Laplace, Student-t or sparse for the transport, got {type(latents).__name__}")


def _numpy(parameter: Tensor) -> np.ndarray:
    array: np.ndarray = parameter.detach().double().cpu().numpy()
    return array
