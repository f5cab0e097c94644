"""mean_k (S_(1)k - S_(2)k), S_(i)k the i-th largest over latents j of S_jk: Kumar et al. 2018, section 3.

S_jk says how well latent j alone tells factor k. It is the accuracy of one-against-rest classifiers

    min_{w,b} (w^2 + b^2) / 2 + C sum_n a_n max(0, 1 - y_n (w z_n + b))^2

or, if the factor is treated as a number, the squared correlation.
"""

from collections.abc import Sequence

import numpy as np

from disvae.metric import Metric


class SAP(Metric):
    """Does one latent tell each factor and no second one? The gap is small wherever a line separates little.

    `classification`, the form of Locatello et al. 2019, is on standardised codes: the accuracy of linear support vector
    machines on a held-out third of the rows (squared hinge, C = 0.01, classes balanced). `classification_raw` takes the
    codes as they are, as the literature does: the penalty, also on the intercept, makes it depend on scale and mean.
    `linear`, Kumar's form for ordered factors, is another quantity (0.5 where `classification` is 0.05): squared
    correlations with the class index. A factor without order, such as shape, is treated as ordered: then read
    `linear/NAME` of the others. A single latent is compared with a constant one.
    """

    chance_rows = 50_000

    def __init__(self, *, C: float) -> None:
        if not C > 0:
            raise ValueError(f"C must be positive, got {C}")
        self.C = C

    def score(self, codes: np.ndarray, factors: np.ndarray, names: Sequence[str], seed: int) -> dict[str, float]:
        """Return the mean gaps, and the gap of each factor."""
        if codes.shape[1] == 1:
            codes = np.concatenate([codes, np.zeros_like(codes)], axis=1)
        std = codes.std(axis=0)
        varies = np.ptp(codes, axis=0) > 0
        standardised = (codes - codes.mean(axis=0)) * (varies / np.where(varies, std, 1))
        rows = np.random.default_rng(seed).permutation(len(codes))
        held_out, train = np.split(rows, [len(rows) // 3])
        matrices = {
            "classification": self._accuracies(standardised, factors, train, held_out),
            "classification_raw": self._accuracies(codes, factors, train, held_out),
            "linear": _squared_correlations(standardised, factors),
        }
        gaps = {name: _gaps(matrix) for name, matrix in matrices.items()}
        scores = {name: float(gap.mean()) for name, gap in gaps.items()}
        return scores | {f"{name}/{k}": float(g) for name, gap in gaps.items() for k, g in zip(names, gap, strict=True)}

    def rows(self, N: int, name: str) -> float:
        """Return the size of the held-out third for accuracies, else N."""
        return N if name.partition("/")[0] == "linear" else N // 3

    def _accuracies(
        self, codes: np.ndarray, factors: np.ndarray, train: np.ndarray, held_out: np.ndarray
    ) -> np.ndarray:
        """Return the accuracies (D, K) on the held-out rows; classes without a training row are never predicted."""
        accuracies = np.empty((codes.shape[1], factors.shape[1]))
        known, asked = factors[train], factors[held_out]
        for j, (z, z_held_out) in enumerate(zip(codes[train].T, codes[held_out].T, strict=True)):
            for k, (classes, w, b) in enumerate(one_against_rest(z, known, self.C)):
                low, high = np.full((2, factors[:, k].max() + 1), np.nan)
                low[classes], high[classes] = domains(w, b)
                own = asked[:, k]
                accuracies[j, k] = ((low[own] <= z_held_out) & (z_held_out <= high[own])).mean()
        return accuracies


def domains(w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of the interval of z on which the line w_c z + b_c is the highest, NaN if there is none.

    Of equal lines the first counts as the highest.
    """
    steeper, parallel = w[:, None] - w, w[:, None] == w  # (c, i)
    with np.errstate(over="ignore"):
        meet = (b - b[:, None]) / np.where(parallel, 1, steeper)
    low = np.where(steeper > 0, meet, -np.inf).max(axis=1)
    high = np.where(steeper < 0, meet, np.inf).min(axis=1)
    c = np.arange(len(w))
    covered = (parallel & ((b > b[:, None]) | ((b == b[:, None]) & (c < c[:, None])))).any(axis=1)
    return np.where(covered, np.nan, low), np.where(covered, np.nan, high)


def one_against_rest(z: np.ndarray, factors: np.ndarray, C: float) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Return classes, w and b of each factor: the minimum of the file's objective for every class against the rest."""
    hinges = _Hinges(z, factors, C)
    w = b = np.zeros(len(hinges.size))
    step = np.ones(len(hinges.size))
    here = hinges(w, b)
    for _ in range(100):  # about ten are needed; full steps hardly ever fail, and halving one finds the minimum
        value, by_w, by_b, ww, wb, bb = here
        determinant = np.maximum(ww * bb - wb * wb, 1)  # at least 1, but for rounding
        to_w, to_b = (bb * by_w - wb * by_b) / determinant, (ww * by_b - wb * by_w) / determinant
        decrease = to_w * by_w + to_b * by_b  # twice what a quadratic would lose
        if (decrease <= 1e-12 * (1 + value)).all():
            break
        trial = w - step * to_w, b - step * to_b
        there = hinges(*trial)
        better = there[0] <= value - 1e-4 * step * decrease
        w, b = np.where(better, trial[0], w), np.where(better, trial[1], b)
        here = tuple(np.where(better, new, old) for new, old in zip(there, here, strict=True))
        step = np.where(better, 1, step / 2)
    ends = np.cumsum([len(classes) for classes in hinges.classes])[:-1]
    return list(zip(hinges.classes, np.split(w, ends), np.split(b, ends), strict=True))


class _Hinges:
    """The objectives of G classes, all those of all factors, each against the rest of its factor.

    a_n is N / (classes * size) for rows of the class and 1 for the rest, as in liblinear's balanced weights; with two
    classes both are weighed. Between the thresholds at which rows leave the hinge the objective is quadratic. With z
    sorted, its sums are differences of prefix sums, so all objectives together cost a few searches.
    """

    def __init__(self, z: np.ndarray, factors: np.ndarray, C: float) -> None:
        N = len(z)
        order = np.argsort(z)
        self.z = z = z[order]
        self.classes, sizes, weights, weights_rest, ranks = [], [], [], [], []
        for column in factors[order].T:
            classes, size = np.unique(column, return_counts=True)
            weight = N / (len(classes) * size)
            self.classes.append(classes)
            sizes.append(size)
            weights.append(weight)
            weights_rest.append(weight[::-1] if len(classes) == 2 else np.ones(len(classes)))
            ranks.append(np.argsort(column.astype(np.min_scalar_type(column.max())), kind="stable"))  # a radix sort
        self.size = np.concatenate(sizes)  # (G,)
        self.a, self.a_rest = 2 * C * np.concatenate(weights), 2 * C * np.concatenate(weights_rest)
        rank = np.concatenate(ranks)  # (K N,): the rows of each class in turn, by rank of z
        self.keys = np.repeat(np.arange(len(self.size)), self.size) * N + rank  # sorted
        self.begin = np.arange(len(self.size)) * N
        powers = (np.ones(N), z, z * z)
        self.of_all = [np.concatenate([[0.0], np.cumsum(power)]) for power in powers]
        self.of_class = [np.concatenate([[0.0], np.cumsum(power[rank])]) for power in powers]
        end = np.cumsum(self.size)
        self.before = np.stack([sums[end - self.size] for sums in self.of_class])  # (3, G)
        self.total = np.stack([sums[end] for sums in self.of_class]) - self.before
        self.total_rest = np.array([[sums[-1]] for sums in self.of_all]) - self.total

    def below(self, threshold: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sums of 1, z, z^2 (3, G) over rows under the threshold: of the class, and of the rest."""
        rank = np.searchsorted(self.z, threshold)
        place = np.searchsorted(self.keys, self.begin + rank)
        own = np.stack([sums[place] for sums in self.of_class]) - self.before
        return own, np.stack([sums[rank] for sums in self.of_all]) - own

    def __call__(self, w: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the objective (G,), its gradient in w and b, and the second derivatives ww, wb, bb."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # w = 0: all rows or none
            own, _ = self.below((1 - b) / w)
            _, rest = self.below((-1 - b) / w)
        n, s, q = self.a * np.where(w >= 0, own, self.total - own)  # w z + b < 1
        m, t, r = self.a_rest * np.where(w >= 0, self.total_rest - rest, rest)  # w z + b > -1
        value = w * w + b * b  # twice the objective, so far
        value += n * (1 - b) ** 2 - 2 * (1 - b) * w * s + w * w * q
        value += m * (1 + b) ** 2 + 2 * (1 + b) * w * t + w * w * r
        by_w = w - (1 - b) * s + w * q + (1 + b) * t + w * r
        by_b = b - (1 - b) * n + w * s + (1 + b) * m + w * t
        return value / 2, by_w, by_b, 1 + q + r, s + t, 1 + n + m


def _squared_correlations(standardised: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return the squared correlations (D, K), 0 for a constant latent."""
    numbers = (factors - factors.mean(axis=0)) / factors.std(axis=0)
    squared: np.ndarray = np.square(standardised.T @ numbers / len(factors))
    return squared


def _gaps(matrix: np.ndarray) -> np.ndarray:
    """Return the largest entry minus the second (K,) of each column (D, K)."""
    ranked = np.sort(matrix, axis=0)
    gaps: np.ndarray = ranked[-1] - ranked[-2]
    return gaps
