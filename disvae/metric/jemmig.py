"""JEMMIG = (1/K) sum_k H(z_j*, v_k) - I(z_j*;v_k) + I(z_j°;v_k), j* the most informative, j° the next: Do & Tran 2020.

The normalised form, (1/K) sum_k 1 - JEMMIG_k / (H(v_k) + log B) for B bins, is that of Carbonneau et al. 2022.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.information import bins, entropy, mutual_information


class JEMMIG(Metric):
    """A gap like MIG's that also asks the latent to hold nothing but its factor: noise or a second factor in it costs.

    `normalised` is 1 for a latent that equals its factor, bin for value. `jemmig` is in nats: lower is better, 0 best.
    H(z, v) is that of means in equal-width bins between each latent's least and greatest value, for all factors. Do &
    Tran bin samples of q(z|x) over a fixed range, so their nats differ from these.
    """

    def __init__(self, *, bins: int) -> None:
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        self.bins = bins

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `normalised` and `jemmig`, and both for every factor."""
        binned = bins(codes, self.bins, "equal_width")
        information = mutual_information(binned, factors)
        order = np.argsort(-information, axis=0, kind="stable")
        best = np.take_along_axis(information, order[:1], 0)[0]
        second = np.take_along_axis(information, order[1:2], 0)[0] if len(order) > 1 else np.zeros_like(best)
        H_v = entropy(factors)
        nats = entropy(binned)[order[0]] + H_v - 2 * best + second  # H(z, v) = H(z) + H(v) - I(z;v)
        # A constant latent has no entropy, which the formula rewards: one that knows nothing scores 0.
        by_factor = {"normalised": np.where(best > 0, 1 - nats / (H_v + np.log(self.bins)), 0), "jemmig": nats}
        scores = {name: float(value.mean()) for name, value in by_factor.items()}
        return scores | {
            f"{kind}/{name}": float(value[k]) for kind, value in by_factor.items() for k, name in enumerate(names)
        }
