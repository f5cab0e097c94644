"""mean_j 1 - sum_{k != k*} m_jk^2 / ((K - 1) m_jk*^2), m_jk = I(z_j;v_k), k* its best: Ridgeway & Mozer 2018."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.information import bins, mutual_information, plug_in_bias


class Modularity(Metric):
    """Does each latent know of one factor only? It ignores how much is known, and by how many latents.

    Information is the plug-in estimate from means in equal-width bins, as in disentanglement_lib. `all_latents`, as
    reported elsewhere, is the mean over all latents: a dead latent that carries noise has an arbitrary part in it, and
    models differ little. `weighted` uses only information that chance explains in less than one case in a million,
    minus its bias, and weighs each latent by the sum of its information. It is 0 if no latent has any.
    """

    def __init__(self, *, bins: int) -> None:
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        self.bins = bins

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `all_latents` and `weighted`, and the number of latents that `weighted` counts."""
        from scipy.stats import chi2

        information = mutual_information(bins(codes, self.bins, "equal_width"), factors)
        bias = plug_in_bias(self.bins, factors)
        twice_N = 2 * len(codes)
        known = np.where(twice_N * information > chi2.isf(1e-6, twice_N * bias), information - bias, 0)
        weights = known.sum(1)
        counted = weights > 0
        weighted = np.average(_modularity(known), weights=weights) if counted.any() else 0.0
        return {
            "all_latents": float(_modularity(information).mean()),
            "weighted": float(weighted),
            "weighted/latents": float(counted.sum()),
        }


def _modularity(information: np.ndarray) -> np.ndarray:
    """Return the modularity of each latent (D,) from (D, K), 0 for one that knows nothing."""
    best = information.max(1)
    others = (information**2).sum(1) - best**2
    return np.where(best > 0, 1 - others / ((information.shape[1] - 1) * np.where(best > 0, best, 1) ** 2), 0)
