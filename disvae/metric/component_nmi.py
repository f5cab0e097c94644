"""NMI(c, k) = 2 I(c; k) / (H(c) + H(k)), k(x) = argmax_k w_k p_k(z): do a mixture prior's components hold the classes?

The clustered prior is that of Mathieu et al. 2019, section 5. The NMI is scikit-learn's default, with arithmetic mean.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, MixtureSameFamily

from disvae.metric import ModelMetric, NotApplicable
from disvae.statistics.checked_codes import checked

if TYPE_CHECKING:
    from disvae.encoding import Encoding

BOOTSTRAPS = 200


class ComponentNMI(ModelMetric):
    """The agreement of labels with the component of a mixture prior that each mean code falls to; 0 if all fall to one.

    `purity` is the share of rows whose class is the most common of their component. It grows with the number of
    components and is never below the largest class's share. `components_used` is the number of components that hold at
    least `least_share` of an equal share.
    """

    needs = ("prior",)
    variational = False
    factors = 1
    labels = True

    def __init__(self, *, least_share: float) -> None:
        if not 0 < least_share <= 1:
            raise ValueError(f"least_share must be above 0 and at most 1, got {least_share}")
        self.least_share = least_share

    def __call__(self, encoding: "Encoding", *, seed: int = 0) -> dict[str, float]:
        """Return `nmi`, `purity` (means over factors) and `components_used` with bootstrap `_se`; details by factor."""
        prior = encoding.prior
        if not isinstance(prior, MixtureSameFamily) or len(prior.event_shape) != 1:
            raise NotApplicable("prior must be a mixture to have components: type prior=mixture")
        codes, factors, names = checked(encoding.codes, encoding.factors, encoding.factor_names, 1, 2)
        of = components(prior, codes)
        K = prior.mixture_distribution.logits.shape[-1]
        tables = [np.bincount(of * (c.max() + 1) + c, minlength=K * (c.max() + 1)).reshape(K, -1) for c in factors.T]
        values = {"nmi": _each(tables, nmi), "purity": _each(tables, purity)}
        draws = _bootstrapped(of, factors, K, np.random.default_rng(seed))
        repeats = {"nmi": _each(draws, nmi), "purity": _each(draws, purity)}
        scores = {}
        for name, value in values.items():
            scores[name] = float(value.mean())
            scores[f"{name}_se"] = float(repeats[name].mean(0).std(ddof=1))
        scores["components_used"] = float(self._used(tables[0]))
        scores["components_used_se"] = float(self._used(draws[0]).std(ddof=1))
        if len(names) > 1:
            for k, name in enumerate(names):
                for score in ("nmi", "purity"):
                    scores[f"{score}/{name}"] = float(values[score][k])
                    scores[f"{score}/{name}_se"] = float(repeats[score][k].std(ddof=1))
        return scores

    def _used(self, table: np.ndarray) -> np.ndarray:
        held = table.sum(-1)  # (..., K)
        used: np.ndarray = (held * held.shape[-1] >= self.least_share * held.sum(-1, keepdims=True)).sum(-1)
        return used


@torch.no_grad()
def components(prior: MixtureSameFamily, codes: np.ndarray) -> np.ndarray:
    """Return the component (N,) with the highest responsibility for each of the codes (N, D)."""
    parts: Distribution = prior.component_distribution  # batch (K,), event (D,)
    log_weight: Tensor = prior.mixture_distribution.logits.double()
    z = torch.from_numpy(codes).to(log_weight.device)
    rows = max(1, 2**20 // (len(log_weight) * codes.shape[1]))
    best = [(log_weight + parts.log_prob(block[:, None])).argmax(1) for block in z.split(rows)]
    return torch.cat(best).cpu().numpy()


def _bootstrapped(of: np.ndarray, factors: np.ndarray, K: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Return tables (BOOTSTRAPS, K, C) of each factor, from the same rows for all, so that shared noise remains."""
    # A bootstrap of rows is a multinomial draw of the joint counts.
    cells, counts = np.unique(np.column_stack([of, factors]), axis=0, return_counts=True)
    sizes = factors.max(0) + 1
    places = [cells[:, 0] * size + column for size, column in zip(sizes, cells[:, 1:].T, strict=True)]
    tables = [np.empty((BOOTSTRAPS, K, size)) for size in sizes]
    for b in range(BOOTSTRAPS):
        drawn = rng.multinomial(len(of), counts / len(of))
        for table, place, size in zip(tables, places, sizes, strict=True):
            table[b] = np.bincount(place, drawn, K * size).reshape(K, size)
    return tables


def _each(tables: list[np.ndarray], statistic: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return np.stack([statistic(table) for table in tables])


def nmi(table: np.ndarray) -> np.ndarray:
    """Return the NMI of contingency tables (..., K, C), 0 where both sides are constant."""
    p = table / table.sum((-2, -1), keepdims=True)
    H_k, H_c, H = _entropy(p.sum(-1)), _entropy(p.sum(-2)), _entropy(p.reshape(*p.shape[:-2], -1))
    mean = (H_k + H_c) / 2
    value: np.ndarray = np.divide(H_k + H_c - H, mean, out=np.zeros_like(mean), where=mean > 0).clip(0, 1)
    return value


def purity(table: np.ndarray) -> np.ndarray:
    """Return the share of rows in the most common class of their component, from tables (..., K, C)."""
    share: np.ndarray = table.max(-1).sum(-1) / table.sum((-2, -1))
    return share


def _entropy(p: np.ndarray) -> np.ndarray:
    entropy: np.ndarray = -(p * np.log(p, out=np.zeros_like(p), where=p > 0)).sum(-1)
    return entropy
