"""I(z_d; v_k) / H(v_k): the share of factor k that latent d knows, binned as in metric mig/histogram."""

import numpy as np

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.statistics.information import bins, entropy, mutual_information

BINS = 20
"""Number of equally wide bins between the least and the greatest code of a latent, as in conf/metric/mig.yaml."""

STRONG = 0.1
"""A latent that knows a larger share of a factor than this follows that factor."""


def factor_shares(view: FigureData) -> np.ndarray:
    """Return the shares (D, K), from 0 to 1; a factor that does not vary over the images has share 0.

    Raises:
        NotDrawable: the dataset has neither factors nor labels.
    """
    factors = view.encoding.factors
    if factors.shape[1] == 0:
        raise NotDrawable("the dataset must have factors or labels")
    values = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
    H = entropy(values)
    information = mutual_information(bins(view.codes.astype(np.float64), BINS, "equal_width"), values)
    shares: np.ndarray = np.divide(information, H, out=np.zeros_like(information), where=H > 0)
    return shares
