"""JSD(q(z), p(z)) = log 2 + max_l (E_q[log sigmoid(l(z))] + E_p[log sigmoid(-l(z))]) / 2: Goodfellow et al. 2014."""

import math

from torch import Tensor
from torch.distributions import Distribution
from torch.nn.functional import logsigmoid

from disvae.divergence import Divergence
from disvae.estimators import DensityRatio, rsample


class JSD(Divergence):
    """The Jensen-Shannon divergence in nats, at most log 2, estimated by a classifier of codes.

    The estimate is too low by as much as the classifier falls short of the best one. Before training it may be
    negative.
    """

    least_batch = 2

    def __init__(self, z_dim: int, width: int, layers: int) -> None:
        super().__init__()
        self.ratio = DensityRatio(z_dim, width, layers)

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the scalar estimate; gradients reach the codes and the prior, never the classifier."""
        z_prior = rsample(pz, len(z))
        return math.log(2) + 0.5 * (logsigmoid(self.ratio(z)).mean() + logsigmoid(-self.ratio(z_prior)).mean())

    def fit_loss(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the classifier's cross-entropy in nats, log 2 at chance; gradients reach the classifier only."""
        return self.ratio.fit_terms(z, rsample(pz, len(z)))[0]
