"""q(z|x) = prod_k Cat(z_k; pi_k(x)) N(z; mu(x), I or diag sigma(x)^2): the Q of InfoGAN, Chen X. et al. 2016."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.distribution.joint import Joint, OneHot, check_categories
from disvae.posterior import Posterior
from disvae.posterior.link import exp_half


class JointPosterior(Posterior):
    """Categorical codes first, then a Gaussian for all other latents, whose variance is 1 unless it is learnt.

    Samples of a category pass gradients straight through to its probabilities.
    """

    def __init__(self, z_dim: int, *, categories: list[int], unit: bool) -> None:
        check_categories(categories, z_dim)
        self.rest = z_dim - sum(categories)
        super().__init__(z_dim, sum(categories) + (1 if unit else 2) * self.rest)
        self.categories = list(categories)
        self.unit = unit

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, size): logits, means and, if they are learnt, log-variances."""
        *logits, gaussian = h.split([*self.categories, h.shape[-1] - sum(self.categories)], dim=-1)
        parts: list[Distribution] = [OneHot(of_code) for of_code in logits]
        if self.rest:
            loc = gaussian[..., : self.rest]
            scale = torch.ones_like(loc) if self.unit else exp_half(gaussian[..., self.rest :])
            parts.append(Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False))
        return Joint(parts) if self.categories else parts[0]
