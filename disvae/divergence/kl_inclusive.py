"""KL(p(z) || q(z)) ~ mean_i [log p(z_i) - log (1/B) sum_b q(z_i|x_b)], z_i ~ p(z): Mathieu et al. 2019."""

from torch import Tensor
from torch.distributions import Distribution

from disvae.divergence import Divergence
from disvae.estimators import batch_log_density, rsample


class KLInclusive(Divergence):
    """The inclusive KL in nats, which asks q(z) to cover all of the prior.

    It is an overestimate on average, because the batch's mixture stands for q(z) and the mean of a logarithm is below
    the logarithm of the mean.
    """

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the scalar estimate from as many codes of the prior as the batch has images."""
        z_prior = rsample(pz, len(z))  # (B, D)
        return (pz.log_prob(z_prior) - batch_log_density(qz_x, z_prior)).mean()
