"""Which factor a latent is called by: the one of the highest I(z_d;v_k) / H(v_k), where that is no chance."""

import numpy as np

from disvae.pictures.factor_shares import BINS, STRONG, tracking
from disvae.pictures.figure_data import FigureData
from disvae.statistics.information import entropy, plug_in_bias

CHANCE = 0.001
"""Probability that any one latent that knows nothing is called by a factor."""


def names(view: FigureData) -> list[tuple[str, float] | None]:
    """Factor and share, as figure mutual_information shows it, of each of D latents; None where it is no better known.

    What chance gives does not count: 2N times the plug-in information of a latent that knows nothing is close to
    chi-squared (disvae/statistics/information.py), and what is above its mean must be STRONG.
    """
    from scipy.stats import chi2

    factors = view.encoding.factors
    (N, D), K = view.codes.shape, factors.shape[1]
    if K == 0:
        return [None] * D
    shares, H_v, bias = tracking(view), entropy(factors), plug_in_bias(BINS, factors)
    by_chance = chi2.isf(CHANCE / (D * K), np.maximum(2 * N * bias, 1)) / (2 * N)
    varied = np.where(H_v > 0, H_v, 1)
    above = np.where((shares * varied > by_chance) & (H_v > 0), shares - bias / varied, 0)  # (D, K)
    best = above.argmax(1)
    return [
        (view.encoding.factor_names[k], float(shares[d, k])) if above[d, k] > STRONG else None
        for d, k in enumerate(best)
    ]
