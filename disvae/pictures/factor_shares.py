"""I(z_d; v_k) / H(v_k): the share of factor k that latent d knows, binned as in metric mig/histogram."""

from dataclasses import dataclass

import numpy as np

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.statistics.information import bins, entropy, mutual_information, plug_in_bias

BINS = 20
"""Number of equally wide bins between the least and the greatest code of a latent, as in conf/metric/mig.yaml."""

STRONG = 0.1
"""A latent that knows a larger share of a factor than this follows that factor, if it is hardly chance."""

CHANCE = 0.001
"""Probability that any latent follows a factor when no latent knows anything."""


@dataclass(frozen=True)
class FactorShares:
    """The shares that latents know, what a latent that knows nothing seems to know, and who knows more than that.

    `known` (D, K) is biased upwards: a latent that knows nothing has the share `chance` (K,) in the mean, which is high
    for few images. `follows` (D, K) tells shares above STRONG that are hardly chance. All are 0 for a factor that does
    not vary.
    """

    known: np.ndarray
    chance: np.ndarray
    follows: np.ndarray


def factor_shares(view: FigureData) -> FactorShares:
    """Return the shares over the images of a view.

    2N times the plug-in information of a latent that knows nothing is close to chi-squared (statistics/information.py).

    Raises:
        NotDrawable: the dataset has neither factors nor labels.
    """
    from scipy.stats import chi2

    factors = view.encoding.factors
    if factors.shape[1] == 0:
        raise NotDrawable("the dataset must have factors or labels")
    values = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
    H = entropy(values)
    varies = H > 0
    information = mutual_information(bins(view.codes.astype(np.float64), BINS, "equal_width"), values)
    bias, N = plug_in_bias(BINS, values), len(values)
    known, chance = (np.where(varies, of / np.where(varies, H, 1), 0) for of in (information, bias))
    by_chance = chi2.isf(CHANCE / information.size, np.maximum(2 * N * bias, 1)) / (2 * N)
    return FactorShares(known, np.minimum(chance, 1), (information > by_chance) & (known > STRONG))
