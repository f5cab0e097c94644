"""p(z) = N(z; 0, I), Kingma & Welling 2014."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.prior import Prior


class Gaussian(Prior):
    """The standard normal: rotations leave it unchanged, so it prefers no axes (Mathieu et al. 2019, theorem 2)."""

    loc: Tensor  # (D,)
    scale: Tensor  # (D,)

    def __init__(self, z_dim: int) -> None:
        super().__init__(z_dim)
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.ones(z_dim))

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,)."""
        return Independent(Normal(self.loc, self.scale, validate_args=False), 1, validate_args=False)
