"""sum_j w_j max_k (1 - E_v[Q(|z_j - E[z_j|k=v]|; k=v)] / w_j), w_j = Q(|z_j - E[z_j]|): Suter et al. 2019.

Q is a quantile over rows, the maximum if it is 1. The weights w_j are divided by their sum.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class IRS(Metric):
    """Does fixing the best single factor keep a latent where it is, whatever the others do? Blind to duplicates.

    The deviation of a latent is its `quantile` over rows, 1 for the paper's maximum. Common code takes a quantile
    within a value but the maximum over all rows, which gives noise 0.38: here both are the same quantile. The mean over
    a factor's values weighs them by their rows (there: equally) and leaves out values of a single row, which cannot
    deviate. A result below 0 counts as 0. Latents count by their deviation, as in common code, so rescaling one against
    the others changes `irs`; in `irs/unweighted` those that vary count alike. One latent that encodes several factors
    may score well.
    """

    def __init__(self, *, quantile: float) -> None:
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1, got {quantile}")
        self.quantile = quantile

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `irs`, 0 if no latent varies, and its unweighted mean over latents that vary."""
        overall = self._deviation(codes)
        varies = (np.ptp(codes, axis=0) > 0) & (overall > 0)  # the deviations of a constant are rounding errors
        if not varies.any():
            return {"irs": 0.0, "irs/unweighted": 0.0}
        codes, overall = codes[:, varies], overall[varies]
        robust = np.zeros((codes.shape[1], factors.shape[1]))
        for k, factor in enumerate(factors.T):
            order = np.argsort(factor, kind="stable")
            groups = np.split(order, np.cumsum(np.bincount(factor))[:-1])
            held = [rows for rows in groups if len(rows) > 1]
            if held:
                within = np.stack([self._deviation(codes[rows]) for rows in held])  # (values, D)
                share = np.average(within, axis=0, weights=[len(rows) for rows in held]) / overall
                # The share exceeds 1 for a latent that rarely moves: its high quantile varies from value to value.
                robust[:, k] = np.maximum(1 - share, 0)
        best = robust.max(axis=1)
        return {"irs": float(np.average(best, weights=overall)), "irs/unweighted": float(best.mean())}

    def _deviation(self, codes: np.ndarray) -> np.ndarray:
        """Return the quantile (D,) of the deviations of codes (n, D) from their mean."""
        deviation: np.ndarray = np.quantile(np.abs(codes - codes.mean(axis=0)), self.quantile, axis=0)
        return deviation
