"""InfoM, InfoC and InfoE of Hsu et al. 2023 (Disentanglement via latent quantization), n_jk = I(z_j;v_k) / H(v_k).

InfoM = (mean_j max_k n_jk / sum_k n_jk - 1/K) / (1 - 1/K). InfoC is the same over the D latents of each factor. Both
use active latents. InfoE = mean_k 1 - H(v_k|z) / H(v_k), H(v|z) the cross-entropy of a logistic regression.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.information import entropy, neighbour_information
from disvae.statistics.linear_probe import held_out


class InfoMEC(Metric):
    """Modularity, compactness and explicitness, all by information; the first two are high by chance.

    Information of continuous latents is estimated by nearest neighbours (Ross 2014); negative estimates become 0. A
    latent is active if its range is more than a share of the widest range, so rescaling one latent against the others
    changes the scores. Deviations: InfoE is computed on held-out rows and is 0 if the factor's frequencies predict
    better, while the authors fit and score the same rows and weigh values equally in the fit. A latent that knows
    nothing counts as 0, theirs is NaN.
    """

    def __init__(self, *, neighbours: int, active: float, limit: int) -> None:
        if neighbours < 1:
            raise ValueError(f"neighbours must be at least 1, got {neighbours}")
        if not 0 <= active < 1:
            raise ValueError(f"active must be in [0, 1), got {active}")
        if limit < 50:
            raise ValueError(f"limit must be at least 50, got {limit}")
        self.neighbours = neighbours
        self.active = active
        self.limit = limit

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return modularity, and compactness and explicitness, also by factor, and the number of active latents."""
        width = np.ptp(codes, axis=0)
        active = width > self.active * width.max()
        n = neighbour_information(codes[:, active], factors, self.neighbours) / entropy(factors)
        by_factor = {"compactness": _concentration(n), "explicitness": self._explicitness(codes, factors, seed)}
        modularity = _concentration(n.T).mean() if active.any() else 0.0
        scores = {"modularity": float(modularity)}
        scores |= {name: float(value.mean()) for name, value in by_factor.items()}
        scores |= {
            f"{kind}/{name}": float(value[k]) for kind, value in by_factor.items() for k, name in enumerate(names)
        }
        return scores | {"modularity/active_latents": float(active.sum())}

    def _explicitness(self, codes: np.ndarray, factors: np.ndarray, seed: int) -> np.ndarray:
        rng = np.random.default_rng(seed)
        explicitness = np.zeros(factors.shape[1])
        for k, factor in enumerate(factors.T):
            split = held_out(codes, factor, self.limit, rng)
            if split is not None:
                log_p, log_prior = split.log_probabilities()
                of_own = log_p[np.arange(len(log_p)), split.v_test].mean()
                explicitness[k] = max(0.0, 1 - of_own / log_prior[split.v_test].mean())
        return explicitness

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return approximate levels: information is nearly normal about 0 with a variance in proportion to 1 - 1/|v|.

        10,000 such noises, negative ones set to 0, give the mean of the ratios. It is too low by 0.02 to 0.05 with four
        factors of two or three values at 400 rows. Explicitness is 0, because a regression fitted to noise predicts
        worse than the frequencies do.
        """
        rng = np.random.default_rng(0)
        noise = np.sqrt(1 - 1 / (factors.max(0) + 1)) / entropy(factors)
        latents = np.maximum(rng.standard_normal((len(noise), 10_000)), 0) * noise[:, None]
        by_latent = np.maximum(rng.standard_normal((codes.shape[1], 10_000)), 0)
        return {
            "modularity": float(_concentration(latents).mean()),
            "compactness": float(_concentration(by_latent).mean()),
            "explicitness": 0.0,
        }

    def rows(self, N: int, name: str) -> float:
        """Return the number of rows that are judged for explicitness, else N."""
        return min(N - N // 2, self.limit) if name.partition("/")[0] == "explicitness" else N


def _concentration(shares: np.ndarray) -> np.ndarray:
    """Return the greatest share (m,) of each column (n, m), scaled from [1/n, 1] to [0, 1]; 0 for a column of zeros."""
    n, total = len(shares), shares.sum(0)
    if n < 2:
        return np.where(total > 0, 1.0, 0.0)
    known = total > 0
    greatest = shares.max(0) / np.where(known, total, 1)
    return np.where(known, (greatest - 1 / n) / (1 - 1 / n), 0)
