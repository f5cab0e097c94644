"""I(z_d; v_k) / H(v_k): what share of a factor each latent knows, as metric mig/histogram reads it."""

import numpy as np

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.statistics.information import bins, entropy, mutual_information

BINS = 20
"""Of each latent, between its least and greatest code; those of conf/metric/mig.yaml."""

STRONG = 0.1
"""A latent with more of a factor than this is said to follow it."""


def tracking(view: FigureData) -> np.ndarray:
    """Shares (D, K), 0 to 1; 0 for a factor that does not vary over the images.

    Raises:
        NotDrawable: nothing is known of the images.
    """
    factors = view.encoding.factors
    if factors.shape[1] == 0:
        raise NotDrawable("the dataset must have factors or labels")
    values = np.stack([np.unique(column, return_inverse=True)[1] for column in factors.T], 1)
    H = entropy(values)
    information = mutual_information(bins(view.codes.astype(np.float64), BINS, "equal_width"), values)
    shares: np.ndarray = np.divide(information, H, out=np.zeros_like(information), where=H > 0)
    return shares
