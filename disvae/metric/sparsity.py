"""Hoyer = (sqrt D - mean_n |z_n|_1 / |z_n|_2) / (sqrt D - 1), latents over their standard deviation.

The sources are Mathieu et al. 2019, section 5, and Hurley & Rickard 2009.
"""

import math
from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class Sparsity(Metric):
    """How few latents each code uses: 1 if it uses one, 0 if it uses all alike; a Gaussian code has about 0.2.

    `hoyer` divides each latent by its standard deviation, without centring, as published. The noise of a latent that
    hardly varies therefore weighs as much as any other. Read it beside active_units and `hoyer_raw`, which takes the
    codes as they are and depends on their scales. A constant latent counts as 0 in both. A code of zeros scores 0.
    """

    factors = 0

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `hoyer` and `hoyer_raw`."""
        z = np.where(np.ptp(codes, axis=0) > 0, codes, 0)
        std = z.std(0, ddof=1)
        scale = np.divide(1, std, out=np.zeros_like(std), where=std > 0)
        return {"hoyer": _hoyer(z * scale), "hoyer_raw": _hoyer(z)}


def _hoyer(z: np.ndarray) -> float:
    D = z.shape[1]
    if D == 1 or not z.any():  # one latent is neither sparse nor dense
        return 0.0
    norm = np.sqrt(np.square(z).sum(1))
    # a code of zeros uses all latents alike
    ratio = np.divide(np.abs(z).sum(1), norm, out=np.full(len(z), math.sqrt(D)), where=norm > 0)
    return float((math.sqrt(D) - ratio.mean()) / (math.sqrt(D) - 1))
