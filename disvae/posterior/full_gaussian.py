"""q(z|x) = N(z; mu(x), L L^T), L = diag(s(x)) (I + N(x)), N strictly lower triangular."""

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal

from disvae.posterior import Posterior
from disvae.posterior.link import Link, link_function


class FullGaussian(Posterior):
    """A Gaussian with any covariance, in which codes may rotate freely (Mathieu et al. 2019, theorem 2)."""

    below: Tensor  # (D (D - 1) / 2,): where N's entries are in a flattened (D, D)

    def __init__(self, z_dim: int, *, link: Link) -> None:
        super().__init__(z_dim, z_dim + z_dim * (z_dim + 1) // 2)
        self.scale = link_function(link)
        rows, columns = torch.tril_indices(z_dim, z_dim, -1)
        self.register_buffer("below", rows * z_dim + columns, persistent=False)

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, D + D (D + 1) / 2).

        Nothing is clamped: samples, entropy and the KL to a Gaussian prior are finite for |h| <= 30. A density is only
        as accurate as N is well conditioned; the scales s do not matter to it.
        """
        loc, raw, entries = torch.split(h, [self.z_dim, self.z_dim, len(self.below)], dim=-1)
        diagonal = torch.diag_embed(torch.ones_like(raw)).flatten(-2)  # (B, D * D)
        unit = diagonal.scatter(-1, self.below.expand_as(entries), entries).unflatten(-1, (self.z_dim, self.z_dim))
        return MultivariateNormal(loc, scale_tril=self.scale(raw)[..., None] * unit, validate_args=False)
