"""Metrics as their definitions read, one vote, latent or factor after another: what the fast ones must agree with.

The benchmark times these too, so they are written as a reader of the papers would, with nothing slow put in.
"""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC


def mig(codes: np.ndarray, factors: np.ndarray, bins: int, quantile: bool = False) -> float:
    """Chen et al. 2018 with bins of equal width, or between quantiles."""
    binned = np.empty(codes.shape, np.int64)
    for j in range(codes.shape[1]):
        if quantile:
            edges = np.quantile(codes[:, j], np.linspace(0, 1, bins + 1))
        else:
            edges = np.histogram(codes[:, j], bins)[1]
        binned[:, j] = np.digitize(codes[:, j], edges[:-1])
    gaps = []
    for k in range(factors.shape[1]):
        information = sorted(mutual_info_score(factors[:, k], binned[:, j]) for j in range(codes.shape[1]))
        gaps.append((information[-1] - information[-2]) / mutual_info_score(factors[:, k], factors[:, k]))
    return float(np.mean(gaps))


def members(factors: np.ndarray, rows: np.ndarray) -> list[dict[int, np.ndarray]]:
    """For each factor, the rows that hold each of its values."""
    return [{v: rows[factors[rows, k] == v] for v in np.unique(factors[rows, k])} for k in range(factors.shape[1])]


def difference(codes, factors, holders, k: int, rows: np.ndarray, pairs: int, rng: np.random.Generator) -> np.ndarray:
    """One vote of Higgins et al. 2017: the mean |z - z'| of pairs that share their value of factor k."""
    one, other = np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    for pair in range(pairs):
        one[pair] = other[pair] = rows[rng.integers(len(rows))]
        same = holders[k][factors[one[pair], k]]
        while other[pair] == one[pair]:
            other[pair] = same[rng.integers(len(same))]
    return np.abs(codes[one] - codes[other]).mean(axis=0)


def higgins(codes, factors, pairs: int, votes: tuple[int, int], rng: np.random.Generator) -> dict[str, float]:
    """Higgins et al. 2017: `votes` to train on and held out, from different halves of the rows."""
    features, labels = [], []
    for rows, count in zip(np.array_split(rng.permutation(len(codes)), 2), votes, strict=True):
        holders = members(factors, rows)
        labels.append(rng.integers(factors.shape[1], size=count))
        features.append(np.array([difference(codes, factors, holders, k, rows, pairs, rng) for k in labels[-1]]))
    scores = {}
    for name, scale in (("standardised", codes.std(axis=0)), ("raw", 1)):
        classifier = LogisticRegression(max_iter=1000).fit(features[0] / scale, labels[0])
        scores[name] = classifier.score(features[1] / scale, labels[1])
    return scores


def least_variance(codes, holders, k: int, rows: np.ndarray, factors, L: int, rng: np.random.Generator) -> int:
    """One vote of Kim & Mnih 2018: the latent that varies least, relative to `codes` that are standardised."""
    same = holders[k][factors[rows[rng.integers(len(rows))], k]]
    return int(np.argmin(np.var(codes[same[rng.integers(len(same), size=L)]], axis=0)))


def factor_vae(codes, factors, L: int, votes: tuple[int, int], prune: float, rng: np.random.Generator) -> float:
    """Kim & Mnih 2018: `votes` for the table and held out, from different halves of the rows."""
    codes = codes[:, codes.std(axis=0) >= prune]
    codes = codes / codes.std(axis=0)
    D, K = codes.shape[1], factors.shape[1]
    table = np.zeros((D, K), np.int64)
    train, held_out = np.array_split(rng.permutation(len(codes)), 2)
    holders = members(factors, train)
    for _ in range(votes[0]):
        k = rng.integers(K)
        table[least_variance(codes, holders, k, train, factors, L, rng), k] += 1
    right = 0
    holders = members(factors, held_out)
    for _ in range(votes[1]):
        k = rng.integers(K)
        right += table[least_variance(codes, holders, k, held_out, factors, L, rng)].argmax() == k
    return right / votes[1]


def sap_accuracies(codes, factors, train: np.ndarray, held_out: np.ndarray, C: float) -> np.ndarray:
    """(D, K): how often a linear support vector machine on one latent is right about one factor."""
    accuracies = np.empty((codes.shape[1], factors.shape[1]))
    for j in range(codes.shape[1]):
        for k in range(factors.shape[1]):
            machine = LinearSVC(C=C, class_weight="balanced").fit(codes[train, j : j + 1], factors[train, k])
            accuracies[j, k] = machine.score(codes[held_out, j : j + 1], factors[held_out, k])
    return accuracies


def gap(matrix: np.ndarray) -> float:
    """Mean over factors of the largest less the second over latents (D, K)."""
    ranked = np.sort(matrix, axis=0)
    return float(np.mean(ranked[-1] - ranked[-2]))


def sap(codes, factors, C: float, rng: np.random.Generator) -> dict[str, float]:
    """Kumar et al. 2018, the form of Locatello et al. 2019: codes standardised, and as they are."""
    rows = rng.permutation(len(codes))
    held_out, train = rows[: len(rows) // 3], rows[len(rows) // 3 :]
    standardised = (codes - codes.mean(axis=0)) / codes.std(axis=0)
    return {
        "classification": gap(sap_accuracies(standardised, factors, train, held_out, C)),
        "classification_raw": gap(sap_accuracies(codes, factors, train, held_out, C)),
        "linear": gap(
            np.array([[np.corrcoef(z, v)[0, 1] ** 2 for v in factors.T] for z in codes.T]),
        ),
    }
