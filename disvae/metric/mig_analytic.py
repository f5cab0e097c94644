"""MIG with I(z_j;v_k) = E[log q(z_j|v_k) - log q(z_j)] of q(z|x) itself: Chen et al. 2018.

q(z_j) = (1/N) sum_n q(z_j|x_n) over all encoded images and q(z_j|v_k) over those of one value, without bins.
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

    All factors count. Chen et al. leave shape out: average `mig/NAME` of the four others to compare with them. As
    theirs, information is ordered first, then negative estimates become 0. Each of min(samples, N) images gives one
    code, scored under both mixtures; theirs are drawn anew for each factor value. Over the whole grid only the drawn
    codes are random.

    Images drawn from a larger population thin both mixtures out. If a code's own posterior is weighed 1/N, the estimate
    is too high (`mig/self_included`). If it is weighed as in the population, densities are unbiased and the estimate is
    too low (`mig/population_weighted`). The score takes the mean of the two logarithms, whose biases cancel to first
    order, and H(v) with the same weights. In a part of a population, a value with a single image tells nothing and is
    left out.

    `_se` is the spread over the codes drawn. It is too large if every image of the population gives one, because then
    only the noise in q(z|x) is random.
    """

    factors = 1

    def __init__(self, *, samples: int) -> None:
        if samples < 2:
            raise ValueError(f"samples must be at least 2, got {samples}")
        self.samples = samples

    @torch.no_grad()
    def __call__(self, encoding: Encoding, *, seed: int = 0) -> dict[str, float]:
        """Return `mig`, also for every factor; for part of a population also the two estimates that it is a mean of."""
        h, posterior = encoding.h, encoding.posterior
        if h is None or posterior is None:
            raise ValueError("posterior is needed, got codes only")
        if marginals(posterior(h[:1])) is None:
            raise NotApplicable("posterior must have known marginals: type posterior=gaussian")
        _, factors, names = checked(encoding.codes, encoding.factors, encoding.factor_names, self.factors, 2)
        N, S = len(h), min(self.samples, len(h))
        population = encoding.population or N  # without a known population these images are taken for all
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
    """Return the logarithms (2, S, D) of mixtures of n (S,) posteriors from sums in units of the own density.

    The first weighs all posteriors alike. The second gives the code's own the weight that it has in the population, and
    the n - 1 others the rest.
    """
    sums, n = total.cpu().numpy(), n[:, None]
    own_weight = N / (n * population)
    others = np.maximum(sums - 1, 0) / np.maximum(n - 1, 1)
    log_densities: np.ndarray = np.log(np.stack([sums / n, own_weight + (1 - own_weight) * others]))
    return log_densities


def _entropies(of_own: np.ndarray, N: int, population: int) -> np.ndarray:
    """Return H(v) (2,) from how many images have the value of each, with the two weightings of `_log_densities`.

    It is the information if no two values' posteriors overlap: with these weights no information can be higher.
    """
    if len(of_own) == 0:
        return np.zeros(2)
    own_weight = 1 / population
    share = own_weight + (1 - own_weight) * (of_own - 1) / max(N - 1, 1)
    return np.array([-np.log(of_own / N).mean(), -np.log(share).mean()])


def _parts(information: np.ndarray, H: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return each code's part (3, S) in one factor's gap over H, from information (2, S, D) and H (2,).

    The rows are by the mean of both logarithms, by the first and by the second. Codes that are not kept have the mean.
    """
    parts = np.zeros((3, len(kept)))
    if kept.any():
        for part, i, h in zip(parts, (information.mean(0), *information), (H.mean(), *H), strict=True):
            gap = _gap(i[kept]) / h
            part[:] = gap.mean()
            part[kept] += (gap - gap.mean()) * (len(kept) / kept.sum())
    return parts


def _gap(information: np.ndarray) -> np.ndarray:
    """Return each code's part (S,) in the gap, from (S, D); information that is negative on average counts as 0."""
    mean = information.mean(0)
    order = np.argsort(-mean, kind="stable")[:2]
    top = (information * (mean > 0))[:, order]
    gap: np.ndarray = top[:, 0] - top[:, 1] if len(order) == 2 else top[:, 0]
    return gap


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    return {name: float(values.mean()), f"{name}_se": float(values.std(ddof=1) / np.sqrt(len(values)))}
