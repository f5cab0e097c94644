"""T_j(z_j) = Phi^-1(F_j(z_j)): the optimal transport of a factorised prior to the standard normal, latent by latent.

Mathieu et al. 2019 score codes of a Student-t prior after it, so that heavy tails do not stand for a scale.
"""

import numpy as np
from scipy import stats
from scipy.special import log_ndtr, log_softmax, logsumexp, ndtri_exp
from torch import Tensor
from torch.distributions import Categorical, Distribution, Laplace, MixtureSameFamily, Normal, StudentT

from disvae.estimators import factorised

LEAST_LOG_TAIL = -744.0
"""Logarithm of the least positive number, where a Student-t's tail is taken to end."""


def to_gaussian(codes: np.ndarray, prior: Distribution) -> np.ndarray | None:
    """Codes (N, D) moved so that those of the prior would be standard normal; None where that is a shift and a scale.

    That is the case under a Gaussian prior, isotropic or not, where nothing is gained. Order within a latent is kept,
    also far out in both tails.

    Raises:
        ValueError: a prior whose latents depend on each other, or of a family whose quantiles are not known.
    """
    latents = factorised(prior)
    if latents is None:
        raise ValueError(
            f"prior must factorise over latents to have a map to the Gaussian, got {type(prior).__name__}: "
            "score the codes as they are"
        )
    if isinstance(latents, Normal):
        return None
    log_cdf, log_sf = _log_tails(codes.astype(np.float64), latents)
    # each code through its nearer tail, whose probability is known to full precision
    lower = ndtri_exp(np.minimum(log_cdf, -np.log(2)))
    upper = -ndtri_exp(np.minimum(log_sf, -np.log(2)))
    moved: np.ndarray = np.where(log_cdf < log_sf, lower, upper).astype(codes.dtype)
    return moved


def _log_tails(z: np.ndarray, latents: Distribution) -> tuple[np.ndarray, np.ndarray]:
    """log F_j(z_j) and log (1 - F_j(z_j)) (N, D)."""
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
    raise ValueError(f"prior must be Laplace, Student-t or sparse to have a map, got {type(latents).__name__}")


def _numpy(parameter: Tensor) -> np.ndarray:
    array: np.ndarray = parameter.detach().double().cpu().numpy()
    return array
