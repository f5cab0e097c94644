"""KL(q(z) || p(z)) ~ mean_i [log (1/B) sum_b q(z_i|x_b) - log p(z_i)], z_i ~ q(z|x_i)."""

from torch import Tensor
from torch.distributions import Distribution

from disvae.divergence import Divergence
from disvae.estimators import batch_log_density


class KLExclusive(Divergence):
    """Asks q(z) to stay where the prior has mass.

    In nats and, on average, an overestimate: a code's own posterior is left in the batch's mixture, which makes this
    the mean KL(q(z|x) || p(z)) less the batch's mutual information, and that cannot exceed log B.
    """

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Scalar, from the batch's own codes."""
        return (batch_log_density(qz_x, z) - pz.log_prob(z)).mean()
