"""Accuracy of a linear classifier of the fixed factor k from mean_l |z_l - z'_l|: Higgins et al. 2017, section 3.

The two images of each of the L pairs have the same value of factor k, which differs from pair to pair.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric
from disvae.statistics.votes import SameValue, cast, halves


class Higgins(Metric):
    """Can a linear classifier tell which factor was fixed? The score saturates and does not need axis-aligned latents.

    A code that misses one factor still scores 1, and a random rotation of a perfect code 0.9 with 64 pairs and 1 with
    200. `standardised` divides differences by each latent's standard deviation. `raw`, the literature's, does not, so
    the classifier's penalty keeps it from latents of a small scale. Both are accuracies on votes from one half of the
    rows, of a logistic regression trained on votes from the other half (multinomial, squared L2 norm of the weights /
    2, C = 1, solved to convergence). The paper trains with few steps of Adagrad, and in common code all votes share
    rows.
    """

    def __init__(self, *, pairs: int, votes: int, held_out_votes: int) -> None:
        for name, value, least in (("pairs", pairs, 1), ("votes", votes, 100), ("held_out_votes", held_out_votes, 100)):
            if value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        self.pairs = pairs
        self.votes = votes
        self.held_out_votes = held_out_votes

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return the accuracies of the two classifiers, 0 if no latent varies."""
        from sklearn.linear_model import LogisticRegression

        codes = codes[:, np.ptp(codes, axis=0) > 0]
        if codes.shape[1] == 0:
            return {"standardised": 0.0, "raw": 0.0, "standardised/train": 0.0, "raw/train": 0.0}
        rng = np.random.default_rng(seed)
        std = codes.std(axis=0)

        def differences(same: SameValue, n: int) -> np.ndarray:
            one, other = same.pairs(n, self.pairs, rng)
            apart = codes.take(one, axis=0)  # (pairs, n, D)
            apart -= codes.take(other, axis=0)
            mean: np.ndarray = np.abs(apart, out=apart).mean(axis=0)
            return mean

        block = max(1, 2**16 // (self.pairs * codes.shape[1]))  # half a megabyte: stays in the cache
        sets = zip(halves(len(codes), rng), (self.votes, self.held_out_votes), strict=True)
        train, held_out = (cast(differences, factors, names, rows, votes, block) for rows, votes in sets)
        scores = {}
        for name, scale in (("standardised", std), ("raw", np.ones_like(std))):
            # Newton steps converge whatever the scale of the features; the usual solver does not.
            classifier = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-6, max_iter=1000)
            classifier.fit(train[0] / scale, train[1])
            scores[name] = float(classifier.score(held_out[0] / scale, held_out[1]))
            scores[f"{name}/train"] = float(classifier.score(train[0] / scale, train[1]))
        return scores

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return 1 / K, which is exact because every factor is fixed equally often."""
        return {"standardised": 1 / factors.shape[1], "raw": 1 / factors.shape[1]}

    def rows(self, N: int, name: str) -> float:
        """Return the size of the half that held-out votes come from."""
        return N - N // 2
