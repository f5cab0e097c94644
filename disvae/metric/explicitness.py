"""mean_k mean_c 2 AUC_kc - 1, the ROC areas of telling v_k = c from the rest linearly: Ridgeway & Mozer 2018."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.linear_probe import held_out


class Explicitness(Metric):
    """Can each factor's value be read from all latents linearly? High for entangled codes too: a rotation keeps it.

    `one_vs_rest` is the paper's, one regression for each value, of which a line cannot tell one in the middle of an
    ordered code: perfect dSprites codes have .56. `multinomial` takes the areas from one regression for all values, as
    disentanglement_lib does under today's scikit-learn: 1. Areas are scaled here so that chance is 0, and are of
    held-out rows; the paper averages the areas themselves (.5 at chance). Standardised codes, no penalty.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 50:
            raise ValueError(f"limit must be at least 50, got {limit}")
        self.limit = limit

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """`one_vs_rest` and `multinomial`, and each for every factor."""
        rng = np.random.default_rng(seed)
        by_factor: dict[str, list[float]] = {"one_vs_rest": [], "multinomial": []}
        for factor in factors.T:
            split = held_out(codes, factor, self.limit, rng)
            by_factor["one_vs_rest"].append(0.0 if split is None else areas(split.one_vs_rest(), split.v_test))
            by_factor["multinomial"].append(0.0 if split is None else areas(split.log_probabilities()[0], split.v_test))
        scores = {name: float(np.mean(values)) for name, values in by_factor.items()}
        return scores | {
            f"{kind}/{name}": values[k] for kind, values in by_factor.items() for k, name in enumerate(names)
        }

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Exactly 0: held-out rows are ranked without regard to their value."""
        return {"one_vs_rest": 0.0, "multinomial": 0.0}

    def rows(self, N: int, name: str) -> float:
        """The rows that are judged."""
        return min(N - N // 2, self.limit)


def areas(scores: np.ndarray, v: np.ndarray) -> float:
    """2 AUC - 1 of score column c for v = c, averaged over the values that `v` (n,) and others take; 0 if none does."""
    from scipy.stats import rankdata

    n, V = scores.shape
    own = np.bincount(v, minlength=V)
    ranks = np.bincount(v, weights=rankdata(scores, axis=0)[np.arange(n), v], minlength=V)
    told = (own > 0) & (own < n)
    pairs = own * (n - own)
    # own (own + 1) / 2 is the sum of the ranks if v = c had the lowest scores: what is above it counts pairs in order
    in_order = ranks - own * (own + 1) / 2
    return float((2 * in_order[told] / pairs[told] - 1).mean()) if told.any() else 0.0
