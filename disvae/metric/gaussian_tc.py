"""TC = 0.5 (sum_j log S_jj - log |S|), S the covariance of the codes: the total correlation of a Gaussian with it.

Locatello et al. 2019 find it low for sampled codes and high for mean codes of the same models.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric

FLOOR = 1e-12
"""The least eigenvalue of the correlation matrix; a latent that others determine adds 0.5 log 1e12 = 13.8 nats."""


class GaussianTC(Metric):
    """How far latents are from uncorrelated, in nats; lower is better, and dependence that is not linear goes unseen.

    `correlation` is the mean absolute correlation of two latents. Constant latents are left out of both scores. In
    latents that encode little, means may be correlated where samples of q(z|x) are not.
    """

    factors = 0

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `total_correlation` in nats and `correlation`."""
        z = codes[:, np.ptp(codes, axis=0) > 0]
        D = z.shape[1]
        if D < 2:
            return {"total_correlation": 0.0, "correlation": 0.0}
        z = z - z.mean(0)
        z /= np.sqrt(np.square(z).mean(0))
        R = z.T @ z / len(z)
        eigenvalues = np.linalg.eigvalsh(R).clip(min=FLOOR)
        pairs = R[np.triu_indices(D, 1)]
        return {
            "total_correlation": float(-0.5 * np.log(eigenvalues).sum()),
            "correlation": float(np.abs(pairs).mean()),
        }
