"""Linear probes: logistic regression of a factor on all latents, judged on rows it was not fitted to."""

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from sklearn.linear_model import LogisticRegression

ITERATIONS = 100
"""The most iterations of a fit: enough for a perfect code of 40 values; there is no penalty, so only rows decide it."""

FLAT = 1e-6
"""Newton steps end where no derivative of the mean log-loss is larger; if a plane separates a value it is never 0."""

WIDE = 100
"""With more latents L-BFGS is faster than Newton steps, whose cost grows with the square of their number."""


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
        values = np.arange(self.v.max() + 1)
        if self.z.shape[1] > WIDE:
            return np.stack([_fit(self.z, self.v == c).decision_function(self.z_test) for c in values], 1)
        weights = _newton(_with_ones(self.z), self.v[:, None] == values)
        logits: np.ndarray = _with_ones(self.z_test) @ weights
        return logits


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


def _with_ones(z: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(z)), z])


def _newton(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the weights (d, V) of V logistic regressions of y (n, V) on x (n, d), whose first column is 1.

    The mean log-losses, nats, have no penalty. All are solved at once by Newton steps (iteratively reweighted least
    squares); a step that goes too far beyond the minimum on its way is halved.
    """
    from scipy.special import expit, logit

    weights = np.zeros((x.shape[1], y.shape[1]))
    weights[0] = logit(y.mean(0))
    step, descent = np.zeros_like(weights), np.zeros(y.shape[1])
    tiny = 1e-10 * np.eye(x.shape[1])  # for latents that are constant or sums of others
    for _ in range(ITERATIONS):
        p = expit(x @ weights)
        slope = x.T @ (p - y) / len(x)
        steep = np.abs(slope).max(0) >= FLAT
        if not steep.any():
            break
        too_far = steep & ((slope * step).sum(0) < -descent / 2)
        if too_far.any():
            step[:, too_far] /= 2
            weights[:, too_far] += step[:, too_far]
            continue
        curvature = np.stack([(x.T * of_value) @ x for of_value in (p * (1 - p)).T]) / len(x)  # (V, d, d)
        step = np.linalg.solve(curvature + tiny, slope.T[:, :, None])[:, :, 0].T
        descent = (slope * step).sum(0)
        weights -= step
    return weights
