"""KL(q(z) || p(z)) ~ mean_i [log (1/B) sum_b q(z_i|x_b) - log p(z_i)], z_i ~ q(z|x_i)."""

from torch import Tensor
from torch.distributions import Distribution

from disvae.divergence import Divergence
from disvae.estimators import batch_log_density


class KLExclusive(Divergence):
    """The exclusive KL in nats, which asks q(z) to stay where the prior has mass.

    It is an overestimate on average, because a code's own posterior is part of the batch's mixture: it equals the mean
    KL(q(z|x) || p(z)) minus the batch's mutual information, which cannot exceed log B.
    """

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the scalar estimate from the batch's own codes."""
        return (batch_log_density(qz_x, z) - pz.log_prob(z)).mean()
