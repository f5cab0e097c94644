"""MIG with I(z_j;v_k) = E[log q(z_j|v_k) - log q(z_j)] of q(z|x) itself: Chen et al. 2018.

q(z_j) = (1/N) sum_n q(z_j|x_n) over all encoded images, q(z_j|v_k) over those of one value; no bins.
"""

import numpy as np
import torch
from torch import Tensor

from disvae.encoding import Encoding
from disvae.estimators import marginals
from disvae.metric import ModelMetric, NotApplicable
from disvae.statistics.aggregate_posterior import bar, marginal_sums
from disvae.statistics.checked_codes import checked


class MIGAnalytic(ModelMetric):
    """Mutual information gap of the codes' distribution: noise in q(z|x) counts, unlike in MIG of the means.

    All factors; Chen et al. leave shape out: average `mig/NAME` of the four others to compare. Information is ordered,
    then negative estimates become 0, as theirs. Each of min(samples, N) images gives one code, scored under both
    mixtures; theirs are drawn anew for each factor value. Over the whole grid what is estimated is exact but for them.
    Images drawn from a larger population thin both mixtures out: with its own posterior weighed 1/N the estimate is
    too high (`mig/self_included`), weighed as in the population (`mig/population_weighted`), which makes densities
    unbiased, too low. The score takes the mean of the two logarithms, whose biases cancel to first order, and of H(v)
    with the same weights. A value with a single image in a part of a population tells nothing and is left out.
    `_se` is over the codes drawn: too large where every image of the population gives one, which leaves the noise in
    q(z|x) alone to chance.
    """

    factors = 1

    def __init__(self, *, samples: int) -> None:
        if samples < 2:
            raise ValueError(f"samples must be at least 2, got {samples}")
        self.samples = samples

    @torch.no_grad()
    def __call__(self, encoding: Encoding, *, seed: int = 0) -> dict[str, float]:
        """`mig`, for every factor too, and on part of a population how the parts of the estimate differ."""
        h, posterior = encoding.h, encoding.posterior
        if h is None or posterior is None:
            raise ValueError("posterior must be there, got codes alone")
        if marginals(posterior(h[:1])) is None:
            raise NotApplicable("posterior must have marginals that are known: type posterior=gaussian")
        _, factors, names = checked(encoding.codes, encoding.factors, encoding.factor_names, self.factors, 2)
        N, S = len(h), min(self.samples, len(h))
        population = encoding.population or N  # one without end gives no weight: these are then taken for all
        with torch.random.fork_rng([h.device] if h.device.type == "cuda" else []):
            torch.manual_seed(seed)
            rows = torch.randperm(N)[:S]
            q = posterior(h[rows.to(h.device)])
            z = q.sample()
        q_d = marginals(q)
        assert q_d is not None
        own = q_d.log_prob(z)
        drawn = rows.numpy()
        alike = [np.bincount(factor) for factor in factors.T]  # images of each value
        work = S * N + sum(int(n[factor[drawn]].sum()) for n, factor in zip(alike, factors.T, strict=True))
        with bar("information", work) as progress:
            log_q = _log_densities(marginal_sums(posterior, h, z, own, progress), np.full(S, N), N, population)
            parts = []
            for n, factor in zip(alike, factors.T, strict=True):
                total = torch.ones_like(z, dtype=torch.float64)
                for value in np.unique(factor[drawn]):
                    of_value = torch.from_numpy(np.flatnonzero(factor == value)).to(h.device)
                    s = torch.from_numpy(np.flatnonzero(factor[drawn] == value)).to(h.device)
                    total[s] = marginal_sums(posterior, h[of_value], z[s], own[s], progress)
                of_own = n[factor]  # images of the value of each
                kept = of_own >= (1 if encoding.population == N else 2)
                information = _log_densities(total, of_own[drawn], N, population) - log_q
                H = _entropies(of_own[kept], N, population)
                parts.append(_parts(information, H, kept[drawn]))
        mean, self_included, weighted = np.stack(parts, -1)  # (S, K) each
        scores = _mean("mig", mean.mean(1))
        for k, name in enumerate(names):
            scores |= _mean(f"mig/{name}", mean[:, k])
        if population > N:
            scores |= _mean("mig/self_included", self_included.mean(1))
            scores |= _mean("mig/population_weighted", weighted.mean(1))
        return scores


def _log_densities(total: Tensor, n: np.ndarray, N: int, population: int) -> np.ndarray:
    """Logarithms (2, S, D) of mixtures of n (S,) posteriors, from their sums in units of the code's own, which is one.

    The second gives its own the weight it has in the population, and the n - 1 others the rest.
    """
    sums, n = total.cpu().numpy(), n[:, None]
    own_weight = N / (n * population)
    others = np.maximum(sums - 1, 0) / np.maximum(n - 1, 1)
    log_densities: np.ndarray = np.log(np.stack([sums / n, own_weight + (1 - own_weight) * others]))
    return log_densities


def _entropies(of_own: np.ndarray, N: int, population: int) -> np.ndarray:
    """H(v) (2,) from how many images have the value of each, with the weights of `_log_densities`.

    It is the information of posteriors that no other value's overlap: with these none can have more.
    """
    if len(of_own) == 0:
        return np.zeros(2)
    own_weight = 1 / population
    share = own_weight + (1 - own_weight) * (of_own - 1) / max(N - 1, 1)
    return np.array([-np.log(of_own / N).mean(), -np.log(share).mean()])


def _parts(information: np.ndarray, H: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Of each code its part (3, S) in the gap over H of one factor: by both logarithms' mean, by the first, the second.

    From (2, S, D) and (2,). Codes that are not kept have the mean for their part.
    """
    parts = np.zeros((3, len(kept)))
    if kept.any():
        for part, i, h in zip(parts, (information.mean(0), *information), (H.mean(), *H), strict=True):
            gap = _gap(i[kept]) / h
            part[:] = gap.mean()
            part[kept] += (gap - gap.mean()) * (len(kept) / kept.sum())
    return parts


def _gap(information: np.ndarray) -> np.ndarray:
    """Of each code its part (S,) in the gap, of (S, D); what is negative on average counts as 0."""
    mean = information.mean(0)
    order = np.argsort(-mean, kind="stable")[:2]
    top = (information * (mean > 0))[:, order]
    gap: np.ndarray = top[:, 0] - top[:, 1] if len(order) == 2 else top[:, 0]
    return gap


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    return {name: float(values.mean()), f"{name}_se": float(values.std(ddof=1) / np.sqrt(len(values)))}
