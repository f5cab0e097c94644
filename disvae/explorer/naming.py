"""Name each latent after the factor with the highest I(z_d; v_k) / H(v_k), if this share is beyond chance."""

import numpy as np

from disvae.pictures.factor_shares import BINS, STRONG, factor_shares
from disvae.pictures.figure_data import FigureData
from disvae.statistics.information import entropy, plug_in_bias

CHANCE = 0.001
"""Probability that any latent is named after a factor when no latent knows anything."""


def names(view: FigureData) -> list[tuple[str, float] | None]:
    """Return the factor and the share of each of D latents, as in figure mutual_information; None for a weak share.

    The share must be beyond chance: 2N times the plug-in information of a latent that knows nothing is close to
    chi-squared (disvae/statistics/information.py). Without the mean of this chance value, the share must exceed STRONG.
    """
    from scipy.stats import chi2

    factors = view.encoding.factors
    (N, D), K = view.codes.shape, factors.shape[1]
    if K == 0:
        return [None] * D
    shares, H_v, bias = factor_shares(view), entropy(factors), plug_in_bias(BINS, factors)
    by_chance = chi2.isf(CHANCE / (D * K), np.maximum(2 * N * bias, 1)) / (2 * N)
    varied = np.where(H_v > 0, H_v, 1)
    above = np.where((shares * varied > by_chance) & (H_v > 0), shares - bias / varied, 0)  # (D, K)
    best = above.argmax(1)
    return [
        (view.encoding.factor_names[k], float(shares[d, k])) if above[d, k] > STRONG else None
        for d, k in enumerate(best)
    ]
