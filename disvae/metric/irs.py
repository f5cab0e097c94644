"""sum_j w_j max_k (1 - E_v[Q(|z_j - E[z_j|k=v]|; k=v)] / w_j), w_j = Q(|z_j - E[z_j]|): Suter et al. 2019.

Q is the quantile over rows, 1 the maximum; the weights w_j are divided by their sum.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class IRS(Metric):
    """Whether fixing the best single factor keeps a latent where it is, whatever the others do; blind to duplicates.

    The worst deviation of `quantile` of the rows, 1 for the paper's maximum. Common code has a quantile within a value
    and the maximum over all rows, which gives noise 0.38: here both are the same quantile. The mean over a factor's
    values weighs them by their rows (there: equally), and leaves out values of a single row, which cannot deviate;
    below 0 it counts as 0. Latents count by their deviation, as in common code, so rescaling one against the others
    changes `irs`; `irs/unweighted` counts those that vary alike. One latent that tells several factors at once may
    score well.
    """

    def __init__(self, *, quantile: float) -> None:
        if not 0 < quantile <= 1:
            raise ValueError(f"quantile must be above 0 and at most 1, got {quantile}")
        self.quantile = quantile

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """The score, 0 where no latent varies, and the mean over latents that vary."""
        overall = self._deviation(codes)
        varies = (np.ptp(codes, axis=0) > 0) & (overall > 0)  # a constant's deviations are rounding
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
                # Above 1 for a latent that is still in most rows: its high quantile varies from value to value.
                robust[:, k] = np.maximum(1 - share, 0)
        best = robust.max(axis=1)
        return {"irs": float(np.average(best, weights=overall)), "irs/unweighted": float(best.mean())}

    def _deviation(self, codes: np.ndarray) -> np.ndarray:
        """(D,)"""
        deviation: np.ndarray = np.quantile(np.abs(codes - codes.mean(axis=0)), self.quantile, axis=0)
        return deviation
