"""Linear probes: logistic regression of a factor on all latents, judged on rows it was not fitted to."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

ITERATIONS = 100
"""The iterations of L-BFGS: enough for a perfect code of 40 values; the fit has no penalty, so only rows decide it."""


@dataclass(frozen=True)
class HeldOut:
    """Standardised codes (n, D) and one factor (n,) of the rows to fit and of the rows to judge by.

    Only values that were fitted are judged, since nothing can be known of others.
    """

    z: np.ndarray
    v: np.ndarray
    z_test: np.ndarray
    v_test: np.ndarray

    def log_probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """Return log p(v|z) (n_test, V) of multinomial regression, and log p(v) (V,) by the fitted frequencies."""
        model = _fit(self.z, self.v)
        log_p: np.ndarray = np.log(np.maximum(model.predict_proba(self.z_test), np.finfo(np.float64).tiny))
        return log_p, np.log(np.bincount(self.v) / len(self.v))

    def one_vs_rest(self) -> np.ndarray:
        """Return the logits (n_test, V) of one regression for each value."""
        return np.stack([_fit(self.z, self.v == c).decision_function(self.z_test) for c in range(self.v.max() + 1)], 1)


def held_out(codes: np.ndarray, factor: np.ndarray, limit: int, rng: np.random.Generator) -> HeldOut | None:
    """Return a random half of the rows to fit and the rest to judge by, at most `limit` each.

    It is None if the fitted rows have one value only or no row is left to judge by.
    """
    rows = rng.permutation(len(codes))
    half = min(len(rows) // 2, limit)
    fit, test = rows[:half], rows[half : half + min(len(rows) - half, limit)]
    values, v = np.unique(factor[fit], return_inverse=True)
    test = test[np.isin(factor[test], values)]
    if len(values) < 2 or len(test) == 0:
        return None
    spread = codes[fit].std(0)
    # The rounding of a constant is no spread.
    moves = spread > 1e-12 * np.abs(codes[fit]).max(0)
    z = np.where(moves, (codes - codes[fit].mean(0)) / np.where(moves, spread, 1), 0)
    return HeldOut(z[fit], v, z[test], np.searchsorted(values, factor[test]))


def _fit(z: np.ndarray, v: np.ndarray) -> "LogisticRegression":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=np.inf, max_iter=ITERATIONS).fit(z, v)
