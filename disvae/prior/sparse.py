"""p(z) = prod_d gamma N(z_d; 0, spike^2) + (1 - gamma) N(z_d; 0, slab^2), Mathieu et al. 2019, section 5."""

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from disvae.prior import Prior


class Sparse(Prior):
    """A spike-and-slab prior: each latent is off (spike) with probability gamma, otherwise on (slab).

    gamma=0 is the slab alone. The released code takes 0.05 as the spike's standard deviation, as here. The paper's
    notation is that of a variance, for which you type prior.spike=0.2236.
    """

    log_weight: Tensor  # (D, 2): spike, slab
    loc: Tensor  # (D, 2)
    scale: Tensor  # (D, 2)

    def __init__(self, z_dim: int, *, gamma: float, spike: float, slab: float) -> None:
        super().__init__(z_dim)
        if not 0 <= gamma <= 1:
            raise ValueError(f"gamma must be from 0 to 1, got {gamma}")
        if not 0 < spike < slab:
            raise ValueError(f"spike must be positive and below slab={slab}, got {spike}")
        # log(0) = -inf is exact; Categorical(probs=...) would round a weight of 0 up to 1e-7
        self.register_buffer("log_weight", torch.tensor([gamma, 1 - gamma]).log().repeat(z_dim, 1))
        self.register_buffer("loc", torch.zeros(z_dim, 2))
        self.register_buffer("scale", torch.tensor([float(spike), float(slab)]).repeat(z_dim, 1))

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,); it factorises over latents."""
        weights = Categorical(logits=self.log_weight, validate_args=False)
        components = Normal(self.loc, self.scale, validate_args=False)
        latents = MixtureSameFamily(weights, components, validate_args=False)
        return Independent(latents, 1, validate_args=False)
