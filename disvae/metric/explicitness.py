"""mean_k mean_c 2 AUC_kc - 1, the ROC areas of telling v_k = c from the rest linearly: Ridgeway & Mozer 2018."""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.linear_probe import held_out


class Explicitness(Metric):
    """Can each factor's value be read from all latents linearly? Entangled codes can score 1: a rotation keeps it.

    `one_vs_rest`, the paper's, fits one regression for each value. A line cannot single out a value in the middle of an
    ordered code: perfect dSprites codes score .56. `multinomial` takes the areas from one regression for all values, as
    disentanglement_lib does under today's scikit-learn: such codes score 1. Areas are scaled so that chance is 0, and
    are of held-out rows; the paper averages the areas themselves (.5 at chance). Codes are standardised; there is no
    penalty.
    """

    def __init__(self, *, limit: int) -> None:
        if limit < 50:
            raise ValueError(f"limit must be at least 50, got {limit}")
        self.limit = limit

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return `one_vs_rest` and `multinomial`, and both for every factor."""
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
        """Return exactly 0: codes that know nothing rank held-out rows without regard to their value."""
        return {"one_vs_rest": 0.0, "multinomial": 0.0}

    def rows(self, N: int, name: str) -> float:
        """Return the number of rows that are judged."""
        return min(N - N // 2, self.limit)


def areas(scores: np.ndarray, v: np.ndarray) -> float:
    """Return 2 AUC - 1 of score column c for v = c, averaged over the values c that some but not all of `v` (n,) take.

    It is 0 if there is no such value.
    """
    from scipy.stats import rankdata

    n, V = scores.shape
    own = np.bincount(v, minlength=V)
    ranks = np.bincount(v, weights=rankdata(scores, axis=0)[np.arange(n), v], minlength=V)
    told = (own > 0) & (own < n)
    pairs = own * (n - own)
    # own (own + 1) / 2 is the sum of ranks if v = c had the lowest scores; the excess counts pairs in the right order
    in_order = ranks - own * (own + 1) / 2
    return float((2 * in_order[told] / pairs[told] - 1).mean()) if told.any() else 0.0
