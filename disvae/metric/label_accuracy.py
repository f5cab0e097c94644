"""Held-out accuracy of labels predicted from standardised codes: k nearest neighbours, and multinomial regression."""

import warnings
from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric

DRAWS = 20_000
"""How many predictions of codes that know nothing are drawn for the chance levels."""


class LabelAccuracy(Metric):
    """How much of a label the codes hold (`knn`) and hold linearly (`linear`), which says nothing about axes.

    A seeded share of the rows is held out; latents are standardised by the others. Values are classes without order, so
    neighbouring values of a fine factor count as errors. Compare the score with the chance level, which is high if one
    class is common. Codes that are constant score 0.
    """

    factors = 1
    labels = True

    def __init__(self, *, neighbours: int, held_out: float, images: int) -> None:
        if neighbours < 1:
            raise ValueError(f"neighbours must be positive, got {neighbours}")
        if not 0 < held_out < 1:
            raise ValueError(f"held_out must be between 0 and 1, got {held_out}")
        if images < 100:
            raise ValueError(f"images must be at least 100, got {images}")
        self.neighbours = neighbours
        self.held_out = held_out
        self.images = images

    def _sizes(self, N: int) -> tuple[int, int]:
        """Return how many rows to learn from and how many to predict."""
        rows = min(N, self.images)
        test = min(max(1, round(self.held_out * rows)), rows - 1)
        return rows - test, test

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return means over factors, with `knn/FACTOR` and `linear/FACTOR` if there are several."""
        train, test = self._sizes(len(codes))
        order = np.random.default_rng(seed).permutation(len(codes))[: train + test]
        z = codes[order]
        z = z[:, np.ptp(z[:train], axis=0) > 0]
        if not z.shape[1]:
            accuracy = {"knn": [0.0] * len(names), "linear": [0.0] * len(names)}
        else:
            z = (z - z[:train].mean(0)) / z[:train].std(0)
            accuracy = {"knn": [], "linear": []}
            for labels in factors[order].T:
                right = _accuracies(z, labels, train, min(self.neighbours, train))
                for name, value in right.items():
                    accuracy[name].append(value)
        scores = {name: float(np.mean(values)) for name, values in accuracy.items()}
        if len(names) > 1:
            for name, values in accuracy.items():
                scores |= {f"{name}/{factor}": value for factor, value in zip(names, values, strict=True)}
        return scores

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return sum_c p_c P(c is predicted) by seeded draws: 1/classes if all classes are equally common.

        k-NN predicts the most common of k independent labels. The regression predicts the class with the highest log
        p_c plus the noise of its fitted weights, which has variance D n p_c / (1 + n p_c)^2 under their unit penalty.
        That is the most common class if it stands out.
        """
        train, _ = self._sizes(len(codes))
        rng = np.random.default_rng(0)
        knn, linear = [], []
        for labels in factors.T:
            p = np.unique(labels, return_counts=True)[1] / len(labels)
            votes = rng.multinomial(min(self.neighbours, train), p, DRAWS)  # a tie goes to the first, as below
            knn.append(p[votes.argmax(1)].mean())
            noise = np.sqrt(codes.shape[1] * train * p) / (1 + train * p)
            logits = np.log(p) + noise * rng.standard_normal((DRAWS, len(p)))
            linear.append(p[logits.argmax(1)].mean())
        return {"knn": float(np.mean(knn)), "linear": float(np.mean(linear))}

    def rows(self, N: int, name: str) -> float:
        """Return the number of rows that are predicted."""
        return self._sizes(N)[1]


def _accuracies(z: np.ndarray, labels: np.ndarray, train: int, neighbours: int) -> dict[str, float]:
    from sklearn import config_context
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    if len(np.unique(labels[:train])) == 1:  # only one answer to learn
        only = float((labels[train:] == labels[0]).mean())
        return {"knn": only, "linear": only}
    models = {"knn": KNeighborsClassifier(neighbours), "linear": LogisticRegression(tol=1e-3, max_iter=1000)}
    # Codes are checked before, and checks would take as long as the predictions.
    with warnings.catch_warnings(), config_context(assume_finite=True, skip_parameter_validation=True):
        # the last digits of the weights of separable classes change no prediction
        warnings.simplefilter("ignore", ConvergenceWarning)
        return {
            name: float((model.fit(z[:train], labels[:train]).predict(z[train:]) == labels[train:]).mean())
            for name, model in models.items()
        }
