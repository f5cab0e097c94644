"""E KL(q(z|x) || p(z)) = I(x;z) + KL(q(z) || prod_j q(z_j)) + sum_j KL(q(z_j) || p(z_j)), Chen et al. 2018, eq. 2.

q(z) is the mixture of all encodings, without a minibatch. Its distance from p(z) is the structure of Mathieu et al.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch

from disvae.estimators import mmd
from disvae.metric import ModelMetric
from disvae.statistics.aggregate_posterior import Aggregate

if TYPE_CHECKING:
    from disvae.encoding import Encoding

TERMS = ("mutual_information", "total_correlation", "dimension_wise_kl", "kl_qz_pz", "kl_pz_qz")
DRAWS = 10
"""How many independent draws the MMD is a mean of; their spread gives its standard error."""


class AggregatePosterior(ModelMetric):
    """Overlap, which is I(x;z), and structure (the other terms) of Mathieu et al. 2019 in nats; the MMD has no unit.

    The terms describe the empirical distribution of the M encoded images: I(x;z) is at most log M, and posteriors that
    hardly overlap give a total correlation above zero whatever the population's is. A lower KL is a closer match, not a
    better model. `_se` of the terms assumes independent images. Except for KL(p(z) || q(z)) it is too large if every
    image of the population gives a code. `mmd_se` is the spread of the draws only, given the encoded images.
    """

    needs = ("posterior", "h", "prior")

    def __init__(self, *, samples: int) -> None:
        if samples < 2:
            raise ValueError(f"samples must be at least 2, got {samples}")
        if samples > 100_000:
            raise ValueError(f"samples must be at most 100,000: each is scored under all encodings, got {samples}")
        self.samples = samples

    @torch.no_grad()
    def __call__(self, encoding: "Encoding", *, seed: int = 0) -> dict[str, float]:
        """Return the terms with `_se`.

        dimension_wise_kl needs a prior that factorises, total_correlation a posterior with known marginals.
        """
        assert encoding.posterior is not None
        assert encoding.prior is not None
        assert encoding.h is not None
        terms = Aggregate(encoding.posterior, encoding.h).terms(encoding.prior, samples=self.samples, seed=seed)
        by_name = {name.rpartition("/")[2]: value for name, value in terms.items()}
        scores = {name: by_name[name] for term in TERMS for name in (term, f"{term}_se") if name in by_name}
        draws = self._mmd(encoding, seed)
        return scores | {"mmd": float(draws.mean()), "mmd_se": float(draws.std(ddof=1) / DRAWS**0.5)}

    def _mmd(self, encoding: "Encoding", seed: int) -> np.ndarray:
        """Return the squared MMD between q(z) and p(z) of independent draws (DRAWS,)."""
        posterior, h, pz = encoding.posterior, encoding.h, encoding.prior
        assert posterior is not None
        assert h is not None
        assert pz is not None
        with torch.random.fork_rng([h.device] if h.device.type == "cuda" else []):
            torch.manual_seed(seed)
            values = []
            for _ in range(DRAWS):
                rows = torch.randint(len(h), (self.samples,)).to(h.device)
                values.append(mmd(pz.sample((self.samples,)), posterior(h[rows]).sample(), "imq", "joint").item())
        return np.array(values)
