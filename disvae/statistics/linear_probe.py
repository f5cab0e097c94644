"""A factor read from all latents by logistic regression, judged on rows it was not fitted to."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

ITERATIONS = 100
"""Of L-BFGS: enough for a perfect code of 40 values; the fit has no penalty, so that rows alone decide it."""


@dataclass(frozen=True)
class HeldOut:
    """Standardised codes (n, D) and one factor (n,) of rows to fit and rows to judge by.

    Judged are only values that were fitted: of others nothing can be known.
    """

    z: np.ndarray
    v: np.ndarray
    z_test: np.ndarray
    v_test: np.ndarray

    def log_probabilities(self) -> tuple[np.ndarray, np.ndarray]:
        """log p(v|z) (n_test, V) of multinomial regression and, without codes, log p(v) (V,), as often as fitted."""
        model = _fit(self.z, self.v)
        log_p: np.ndarray = np.log(np.maximum(model.predict_proba(self.z_test), np.finfo(np.float64).tiny))
        return log_p, np.log(np.bincount(self.v) / len(self.v))

    def one_vs_rest(self) -> np.ndarray:
        """Logits (n_test, V) of one regression for each value."""
        return np.stack([_fit(self.z, self.v == c).decision_function(self.z_test) for c in range(self.v.max() + 1)], 1)


def held_out(codes: np.ndarray, factor: np.ndarray, limit: int, rng: np.random.Generator) -> HeldOut | None:
    """A random half of the rows to fit, the rest to judge by, at most `limit` each; None where there is no choice."""
    rows = rng.permutation(len(codes))
    half = min(len(rows) // 2, limit)
    fit, test = rows[:half], rows[half : half + min(len(rows) - half, limit)]
    values, v = np.unique(factor[fit], return_inverse=True)
    test = test[np.isin(factor[test], values)]
    if len(values) < 2 or len(test) == 0:
        return None
    spread = codes[fit].std(0)
    # What rounding makes of a constant is no spread.
    moves = spread > 1e-12 * np.abs(codes[fit]).max(0)
    z = np.where(moves, (codes - codes[fit].mean(0)) / np.where(moves, spread, 1), 0)
    return HeldOut(z[fit], v, z[test], np.searchsorted(values, factor[test]))


def _fit(z: np.ndarray, v: np.ndarray) -> "LogisticRegression":
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LogisticRegression(C=np.inf, max_iter=ITERATIONS).fit(z, v)
