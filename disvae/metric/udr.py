"""UDR_ij = 1/(d_i + d_j) [sum_b max_a R_ab^2 / sum_a R_ab + sum_a max_b R_ab^2 / sum_b R_ab]; Duan et al. 2020, sec. 4.

R_ab in [0, 1] says how similar latent a of run i and latent b of run j are, among their d_i and d_j informative
latents. A run's score is the median over the other runs.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from disvae.estimators import factorised, kl_per_dimension, marginals
from disvae.metric import RunsMetric

if TYPE_CHECKING:
    from disvae.encoding import Encoding


class UDR(RunsMetric):
    """Unsupervised: does each latent of a run have a partner of its own in other runs, up to order and sign?

    It is meant to rank hyperparameters by runs that differ in the seed only. It cannot tell a disentangled solution
    from another one that all seeds find. `spearman`: R = |rank correlation|. `lasso`: R = |weight| of a Lasso of one
    run's standardised latents on the other's, so at most 1 - penalty. `informative` is the number of latents that
    count.
    """

    def __init__(self, *, images: int, least_kl: float, penalty: float) -> None:
        if images < 2:
            raise ValueError(f"images must be at least 2, got {images}")
        if not least_kl >= 0:
            raise ValueError(f"least_kl must be at least 0, got {least_kl}")
        if not 0 < penalty < 1:
            raise ValueError(f"penalty must be between 0 and 1, where all weights are 0, got {penalty}")
        self.images = images
        self.least_kl = least_kl
        self.penalty = penalty

    def __call__(self, encodings: "Sequence[Encoding]", *, seed: int = 0) -> list[dict[str, float]]:
        """Return `spearman`, `lasso` and `informative` of each encoding."""
        from scipy.stats import rankdata

        _check(encodings)
        N = len(encodings[0].codes)
        rows = np.sort(np.random.default_rng(seed).permutation(N)[: self.images])
        kept = [self._informative(encoding, rows, seed) for encoding in encodings]
        codes = [
            encoding.codes[rows][:, keep].astype(np.float64) for encoding, keep in zip(encodings, kept, strict=True)
        ]
        ends = np.cumsum([0, *(z.shape[1] for z in codes)])
        of_run = [slice(*pair) for pair in pairwise(ends)]
        every = np.concatenate(codes, axis=1)  # (N, d): the informative latents of all runs
        linear = _correlations(every)
        ranks = _correlations(np.apply_along_axis(rankdata, 0, every)) if every.size else linear
        similar = {"spearman": np.abs(ranks), "lasso": np.zeros_like(linear)}
        for run in of_run:  # rows: the latents of `run`, which predict all others
            similar["lasso"][run] = np.abs(lasso(linear[run, run], linear[run], self.penalty))
        scores = [{"informative": float(keep.sum())} for keep in kept]
        for name, R in similar.items():
            pairs = np.array([[strength(R[i, j]) for j in of_run] for i in of_run])
            for i, score in enumerate(scores):
                # for a Lasso, the others predict this run, as in the paper's released code
                score[name] = float(np.median(np.delete(pairs[:, i], i)))
        return [{name: score[name] for name in ("spearman", "lasso", "informative")} for score in scores]

    def _informative(self, encoding: "Encoding", rows: np.ndarray, seed: int) -> np.ndarray:
        """Return which latents (D,) vary and have a mean KL(q(z_j|x) || p(z_j)) above `least_kl`, if it is known.

        Under a prior that does not factorise 0.5 log(1 + Var E[z_j|x] / E Var[z_j|x]) replaces the KL; this is what a
        Gaussian code would say of x.
        """
        varies: np.ndarray = np.ptp(encoding.codes[rows], axis=0) > 0
        kl = _kl(encoding, rows, seed)
        return varies if kl is None else varies & (kl > self.least_kl)


def _check(encodings: "Sequence[Encoding]") -> None:
    if len(encodings) < 2:
        raise ValueError(f"at least two runs are needed, got {len(encodings)}")
    first = encodings[0]
    for i, other in enumerate(encodings[1:], 1):
        if len(other.codes) != len(first.codes):
            raise ValueError(f"runs must encode the same images, got {len(first.codes)} and {len(other.codes)} of them")
        rows = first.rows is not None and other.rows is not None and not np.array_equal(first.rows, other.rows)
        if rows or not np.array_equal(first.factors, other.factors):
            raise ValueError(f"runs must encode the same images, got different ones in run {i} and run 0")


@torch.no_grad()
def _kl(encoding: "Encoding", rows: np.ndarray, seed: int) -> np.ndarray | None:
    """Return the mean KL (D,) of each latent's marginal posterior to its prior, closed, sampled or replaced."""
    posterior, prior, h = encoding.posterior, encoding.prior, encoding.h
    if posterior is None or prior is None or h is None:
        return None
    index = torch.from_numpy(rows).to(h.device)
    if factorised(prior) is None or marginals(posterior(h[:1])) is None:
        noise = torch.cat([posterior(h[part]).variance for part in index.split(4096)]).double().mean(0).cpu().numpy()
        signal: np.ndarray = encoding.codes[rows].astype(np.float64).var(0)
        information: np.ndarray = 0.5 * np.log1p(signal / noise)
        return information
    total: Tensor | float = 0.0
    with torch.random.fork_rng([h.device] if h.device.type == "cuda" else []):
        torch.manual_seed(seed)
        for part in index.split(4096):
            latents = marginals(posterior(h[part]))
            assert latents is not None
            qz_x: Distribution = Independent(latents, 1, validate_args=False)
            mean = kl_per_dimension(qz_x, prior, qz_x.sample())
            assert mean is not None
            total = total + mean.double() * len(part)
    assert isinstance(total, Tensor)
    kl: np.ndarray = (total / len(rows)).cpu().numpy()
    return kl


def _correlations(z: np.ndarray) -> np.ndarray:
    """Return the correlation matrix (d, d) of columns that vary."""
    z = z - z.mean(0)
    z /= np.sqrt(np.square(z).mean(0))
    R: np.ndarray = z.T @ z / len(z)
    return R


def lasso(G: np.ndarray, C: np.ndarray, penalty: float, tolerance: float = 1e-6, sweeps: int = 1000) -> np.ndarray:
    """Return the W (d, T) that minimises 1/(2N) |y_t - Z w_t|^2 + penalty |w_t|_1 by coordinate descent.

    `G` (d, d) and `C` (d, T) are the correlations of the standardised predictors with each other and with the targets.
    """
    W = np.zeros_like(C)
    for _ in range(sweeps):
        change = 0.0
        for a in range(len(G)):
            rest = C[a] - G[a] @ W + W[a]
            new = np.sign(rest) * (np.abs(rest) - penalty).clip(min=0)
            change = max(change, float(np.abs(new - W[a]).max(initial=0)))
            W[a] = new
        if change < tolerance:
            break
    return W


def strength(R: np.ndarray) -> float:
    """Return UDR_ij from similarities (d_i, d_j), 0 if a run has no informative latent."""
    if not R.size:
        return 0.0
    total = 0.0
    for axis in (0, 1):
        sums = R.sum(axis)
        total += np.divide(np.square(R.max(axis)), sums, out=np.zeros_like(sums), where=sums > 0).sum()
    return float(total / sum(R.shape))
