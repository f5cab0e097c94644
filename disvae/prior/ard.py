"""p(z) = prod_d N(z_d; 0, s_d^2), s_d^2 the second moment of the codes: the ARD-VAE, Saha et al. 2025.

The paper's prior is a Student-t, the predictive distribution under a Gamma hyperprior on each precision. With many
codes it becomes this Gaussian, whose KL has a closed form. The paper takes the codes of a fixed set of images, and here
they are those of the batches.
"""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.prior import Prior


class ARD(Prior):
    """A Gaussian whose variances follow the codes, so that a latent costs what it tells and not how wide it is.

    A latent that tells nothing has q(z|x) = p(z) at any width, so the least variances need not be the unused latents:
    look at the KL of each latent. The variances start at 1, are updated after each training step's draw, and are in the
    checkpoint.
    """

    from_codes = True
    loc: Tensor  # (D,)
    second_moment: Tensor  # (D,)

    def __init__(self, z_dim: int, *, momentum: float) -> None:
        super().__init__(z_dim)
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        self.momentum = momentum
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("second_moment", torch.ones(z_dim))

    def observe(self, z: Tensor) -> None:
        """Move the running second moments towards those of a batch's codes (B, D)."""
        self.second_moment.copy_(self.momentum * self.second_moment + (1 - self.momentum) * z.square().mean(0))

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,)."""
        scale = self.second_moment.clamp(min=1e-12).sqrt()
        return Independent(Normal(self.loc, scale, validate_args=False), 1, validate_args=False)
