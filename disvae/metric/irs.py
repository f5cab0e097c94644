"""sum_j w_j max_k (1 - E_v[Q(|z_j - E[z_j|k=v]|; k=v)] / w_j), w_j = Q(|z_j - E[z_j]|): Suter et al. 2019.

Q is the quantile over rows, 1 the maximum; the weights w_j are divided by their sum.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import bdtr, ndtr

from disvae.metric import Metric

MAGNITUDES = np.linspace(0, 10, 2001)
"""Of standard normal numbers, to integrate over: of 1e20 none is above 10."""


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

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """From expected quantiles of as many normal deviations, the best factor's.

        Approximate: too low by 0.01 where several factors are about as good, by 0.03 at four rows a value.
        """
        robust = [0.0]
        for factor in factors.T:
            sizes = np.bincount(factor)
            sizes = sizes[sizes > 1]
            if len(sizes):
                within = [np.sqrt(1 - 1 / n) * self._normal(n) for n in sizes]
                robust.append(1 - np.average(within, weights=sizes) / self._normal(len(factors)))
        return {"irs": float(max(robust))}

    def _deviation(self, codes: np.ndarray) -> np.ndarray:
        """(D,)"""
        deviation: np.ndarray = np.quantile(np.abs(codes - codes.mean(axis=0)), self.quantile, axis=0)
        return deviation

    def _normal(self, n: int) -> float:
        """Expected quantile of |x| for n standard normal x: numpy's, between the two order statistics next to it."""
        low, share = divmod(self.quantile * (n - 1), 1)
        below = np.array([[low], [min(low + 1, n - 1)]])
        # The order statistic with r others below it is beyond x where at most r of n are below x; E is that integral.
        expected = np.trapezoid(bdtr(below, n, 2 * ndtr(MAGNITUDES) - 1), MAGNITUDES, axis=1)
        return float((1 - share) * expected[0] + share * expected[1])
