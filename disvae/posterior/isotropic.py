"""q(z|x) = N(z; mu(x), sigma(x)^2 I)."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.posterior import Posterior
from disvae.posterior.link import Link, link_function


class Isotropic(Posterior):
    """A Gaussian with one scale for all latents, a family closed under rotation: nothing aligns codes with the axes."""

    def __init__(self, z_dim: int, *, link: Link) -> None:
        super().__init__(z_dim, z_dim + 1)
        self.scale = link_function(link)

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, D + 1).

        Nothing is clamped; with link=exp, densities are finite for |h| <= 60.
        """
        loc, raw = torch.split(h, [self.z_dim, 1], dim=-1)
        return Independent(Normal(loc, self.scale(raw).expand_as(loc), validate_args=False), 1, validate_args=False)
