"""p(z) = prod_k Cat(z_k; 1/K_k) prod_d U(z_d; -1, 1): the codes of InfoGAN, Chen X. et al. 2016."""

import torch
from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.distribution.joint import Joint, OneHot, check_categories
from disvae.prior import Prior


class Uniform(Prior):
    """A product of uniform densities on (-1, 1), after one-hot vectors of equally likely categories, if any.

    The KL of an unbounded posterior to it is infinite, so it is for objectives without an ELBO (infogan).
    """

    low: Tensor  # (D - sum of categories,)
    high: Tensor  # (D - sum of categories,)
    log_weight: Tensor  # (sum of categories,)

    def __init__(self, z_dim: int, *, categories: list[int]) -> None:
        super().__init__(z_dim)
        check_categories(categories, z_dim)
        self.categories = list(categories)
        self.register_buffer("low", torch.full((z_dim - sum(categories),), -1.0))
        self.register_buffer("high", torch.ones(z_dim - sum(categories)))
        self.register_buffer("log_weight", torch.zeros(sum(categories)))

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,); it factorises over latents if there are no categories."""
        flat = distributions.Uniform(self.low, self.high, validate_args=False)
        codes = Independent(flat, 1, validate_args=False)
        if not self.categories:
            return codes
        parts = [OneHot(w) for w in self.log_weight.split(self.categories)]
        return Joint([*parts, codes] if len(self.low) else parts)
