"""(1/K) sum_k (I(z_j*;v_k) - max_{j != j*} I(z_j;v_k)) / H(v_k), j* the most informative: Chen et al. 2018."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.information import bins, entropy, gaps, mutual_information


class MIG(Metric):
    """Mutual information gap: is each factor known to one latent alone? Blind to latents that mix several factors.

    Information is the plug-in estimate from binned means, for all factors; H(v) is that of the sample. `histogram` has
    equal-width bins, as in Locatello et al. 2019; one outlier can ruin it. `quantile` has equally filled bins, which an
    outlier cannot ruin. `quantile_corrected` corrects these entropies for the number of rows (Miller 1955), so that a
    thousand rows have nearly the score of all. A perfect code scores below 1 if a factor has more values than there
    are bins.
    """

    def __init__(self, *, bins: int) -> None:
        if bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        self.bins = bins

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `histogram`, `quantile` and `quantile_corrected`, and each for every factor."""

        def gap(binned: np.ndarray, *, corrected: bool = False) -> np.ndarray:
            information = mutual_information(binned, factors, corrected=corrected)
            shares: np.ndarray = gaps(information) / entropy(factors, corrected=corrected)
            return shares

        by_quantile = bins(codes, self.bins, "quantile")
        by_factor = {
            "histogram": gap(bins(codes, self.bins, "equal_width")),
            "quantile": gap(by_quantile),
            "quantile_corrected": gap(by_quantile, corrected=True),
        }
        scores = {name: float(gap.mean()) for name, gap in by_factor.items()}
        return scores | {
            f"{kind}/{name}": float(gap[k]) for kind, gap in by_factor.items() for k, name in enumerate(names)
        }
