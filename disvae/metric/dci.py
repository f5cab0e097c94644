"""sum_j rho_j (1 - H_K(P_j)), sum_k rho'_k (1 - H_D(P'_k)), mean_k accuracy_k: Eastwood & Williams 2018, section 2.

R_jk is how much a classifier of factor k relies on latent j. P_j is row j and P'_k column k of R over their sums, and
rho_j and rho'_k are those sums over the sum of R. H_K is the entropy in units of log K.
"""

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from disvae.metric import Metric


class DCI(Metric):
    """Disentanglement, completeness and informativeness: does each latent serve one factor, each factor one latent?

    Importances are those of trees (impurity removed), and the kind of trees moves scores by tenths. `boosting` is the
    form of Locatello et al. 2019; the paper has Lasso and forests of regressors, and errors for informativeness. The
    `forest` considers every latent at each split: with a random choice of latents, the usual default, importance
    spreads over the others and a perfect code scores 0.6. Informativeness is the accuracy on a held-out third. Codes
    are standardised first, because scikit-learn's trees use single precision and do not separate values closer than
    1e-7. Codes that do not vary score 0, below chance, and so does the completeness of a single latent.
    """

    chance_rows = 10_000

    def __init__(
        self,
        *,
        classifier: Literal["boosting", "forest"],
        trees: int,
        leaf: int,
        rows: int | None,
        processes: int | None,
    ) -> None:
        if classifier not in ("boosting", "forest"):
            raise ValueError(f"classifier must be boosting or forest, got {classifier}")
        for name, value in (("trees", trees), ("leaf", leaf)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if trees > 10_000:
            raise ValueError(f"trees must be at most 10,000, because a factor of 10 takes hours, got {trees}")
        if rows is not None and rows < self.samples:
            raise ValueError(f"rows must be at least {self.samples}, or null, got {rows}")
        if processes is not None and processes < 1:
            raise ValueError(f"processes must be at least 1, or null, got {processes}")
        self.classifier = classifier
        self.trees = trees
        self.leaf = leaf
        self.limit = rows
        self.processes = processes
        self.slow = classifier == "boosting"

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return the three scores and the part of each latent and factor in them; latents are numbered from 0."""
        from sklearn.utils.parallel import Parallel, delayed

        rows = np.random.default_rng(seed).permutation(len(codes))[: self.limit]
        held_out, train = np.split(rows, [len(rows) // 3])
        D, K = codes.shape[1], factors.shape[1]
        fits = [_Fit(np.zeros(D), 0.0, 0.0)] * K
        if np.ptp(codes, axis=0).any():
            codes = _standardised(codes, rows)
            largest_first = np.argsort(-factors.max(axis=0))  # cost grows with the classes
            processes = Parallel(n_jobs=min(K, self.processes or os.cpu_count() or 1))
            done = processes(delayed(self._fit)(codes, factors[:, k], train, held_out, seed) for k in largest_first)
            fits = [done[place] for place in np.argsort(largest_first)]
        R = np.stack([fit.importance for fit in fits], axis=1)
        disentangled, complete = concentration(R), concentration(R.T)
        scores = {
            "disentanglement": float(disentangled @ _share(R.sum(axis=1))),
            "completeness": float(complete @ _share(R.sum(axis=0))),
            "informativeness": float(np.mean([fit.held_out for fit in fits])),
            "informativeness/on_training_rows": float(np.mean([fit.train for fit in fits])),
        }
        scores |= {f"disentanglement/z{j}": float(d) for j, d in enumerate(disentangled)}
        scores |= {f"completeness/{name}": float(c) for name, c in zip(names, complete, strict=True)}
        return scores | {f"informativeness/{name}": fit.held_out for name, fit in zip(names, fits, strict=True)}

    def chance(self, codes: np.ndarray, factors: np.ndarray) -> dict[str, float]:
        """Return simulated levels for forests, and approximate ones for boosting, which takes minutes.

        For boosting, disentanglement and completeness are 0: so many trees fitted to noise split on all latents alike.
        With few rows and many latents the true levels are above 0. Trees that know nothing name a frequent class more
        often than it occurs: about as p^3 here, between p for one tree and always the most frequent class.
        """
        if self.classifier == "forest":
            return super().chance(codes, factors)
        frequencies = [np.bincount(column) / len(factors) for column in factors.T]
        accuracy = np.mean([(p**4).sum() / (p**3).sum() for p in frequencies])
        return {"disentanglement": 0.0, "completeness": 0.0, "informativeness": float(accuracy)}

    def rows(self, N: int, name: str) -> float:
        """Return the number of held-out rows for informativeness and of training rows for the other scores."""
        held_out = self._read(N) // 3
        return held_out if name.partition("/")[0] == "informativeness" else self._read(N) - held_out

    def _read(self, N: int) -> int:
        return N if self.limit is None else min(N, self.limit)

    def _fit(self, codes: np.ndarray, factor: np.ndarray, train: np.ndarray, held_out: np.ndarray, seed: int) -> "_Fit":
        from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier

        if len(np.unique(factor[train])) == 1:  # a classifier would name this value for all rows
            return _Fit(np.zeros(codes.shape[1]), 1.0, float((factor[held_out] == factor[train[0]]).mean()))
        settings = {"n_estimators": self.trees, "min_samples_leaf": self.leaf, "random_state": seed}
        if self.classifier == "boosting":
            model = GradientBoostingClassifier(**settings)
        else:
            model = RandomForestClassifier(max_features=None, **settings)
        model.fit(codes[train], factor[train])
        accuracies = [float(model.score(codes[rows], factor[rows])) for rows in (train, held_out)]
        return _Fit(model.feature_importances_, *accuracies)


class _Fit(NamedTuple):
    importance: np.ndarray  # (D,)
    train: float
    held_out: float


def concentration(R: np.ndarray) -> np.ndarray:
    """Return 1 - H of each row of R over its sum, H in units of the log of its length.

    One-hot rows have 1, even ones 0; empty rows and rows of length one have 0.
    """
    if R.shape[1] == 1:
        return np.zeros(len(R))
    P = _share(R)
    entropy = -(P * np.log(np.where(P > 0, P, 1))).sum(axis=1) / np.log(R.shape[1])
    return np.where(R.sum(axis=1) > 0, 1 - entropy, 0.0)


def _standardised(codes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the codes with `rows` standardised and others zero; latents constant in `rows` keep their values there."""
    read = codes[rows]
    spread = read.std(axis=0)
    varies = (np.ptp(read, axis=0) > 0) & (spread > 0)
    standardised = np.zeros_like(codes)
    standardised[rows] = (read - np.where(varies, read.mean(axis=0), 0)) / np.where(varies, spread, 1)
    return standardised


def _share(R: np.ndarray) -> np.ndarray:
    """Return each entry's share of the sum over the last axis, or 0 where the sum is 0."""
    total = R.sum(axis=-1, keepdims=True)
    share: np.ndarray = R / np.where(total > 0, total, 1)
    return share
