"""q(z|x) = N(z; mu(x), diag sigma(x)^2), Kingma & Welling 2014."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.posterior import Posterior
from disvae.posterior.link import Link, link_function


class Gaussian(Posterior):
    """A diagonal Gaussian, the usual choice; it reads a mean and a raw scale per latent."""

    def __init__(self, z_dim: int, *, link: Link) -> None:
        super().__init__(z_dim, 2 * z_dim)
        self.scale = link_function(link)

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, 2D).

        Nothing is clamped; with link=exp, densities are finite for |h| <= 60.
        """
        loc, raw = h.chunk(2, dim=-1)
        return Independent(Normal(loc, self.scale(raw), validate_args=False), 1, validate_args=False)
