"""q(z|x) = delta(z - mu(x)), the deterministic encoder of Tolstikhin et al. 2018, section 2.2."""

from torch import Tensor
from torch.distributions import Distribution

from disvae.distribution.point import Point
from disvae.posterior import Posterior


class Deterministic(Posterior):
    """A point at the encoder's mean, for objective=wae_mmd; it has no density, so no ELBO and no KL."""

    def __init__(self, z_dim: int) -> None:
        super().__init__(z_dim, z_dim)

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, D), the means."""
        return Point(h)
