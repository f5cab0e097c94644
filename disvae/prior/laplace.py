"""p(z) = prod_d Laplace(z_d; 0, b)."""

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.prior import Prior


class Laplace(Prior):
    """A product of Laplace densities, with heavier tails than the Gaussian; it prefers codes along the axes."""

    loc: Tensor  # (D,)
    scale: Tensor  # (D,)

    def __init__(self, z_dim: int, *, scale: float) -> None:
        super().__init__(z_dim)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.full((z_dim,), float(scale)))

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,); each latent has standard deviation sqrt(2) * scale."""
        return Independent(distributions.Laplace(self.loc, self.scale, validate_args=False), 1, validate_args=False)
