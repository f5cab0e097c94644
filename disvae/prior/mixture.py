"""p(z) = sum_k w_k N(z; m_k, diag s_k^2): Mathieu et al. 2019, section 5 (pinwheel: K = 4, w = 1/4, s^2 = 0.03)."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from disvae.prior import Prior


def spread_means(components: int, z_dim: int) -> Tensor:
    """Return unit vectors (K, D): evenly around the circle from (0, -1) if D = 2, else on +-axis 1, +-axis 2, ..."""
    if z_dim == 2:
        angle = torch.arange(components, dtype=torch.float64) * (2 * math.pi / components) - math.pi / 2
        return torch.stack([angle.cos(), angle.sin()], dim=1).float()
    if components > 2 * z_dim:
        raise ValueError(
            f"components must be at most 2 * z_dim = {2 * z_dim}, got {components}: type prior.means=[[...]]"
        )
    axes = torch.eye(z_dim)
    return torch.stack([axes, -axes], dim=1).flatten(0, 1)[:components]


class Mixture(Prior):
    """A Gaussian mixture, which clusters the codes; it does not factorise over latents.

    The weights are equal, or start there and are learnt. A divergence that draws from the prior needs fixed weights.
    """

    log_weight: Tensor  # (K,)
    means: Tensor  # (K, D)
    log_scale: Tensor  # (K, D)

    def __init__(
        self,
        z_dim: int,
        *,
        components: int,
        separation: float,
        means: list[list[float]] | None,
        scale: float,
        learn: bool,
        learn_weights: bool = False,
    ) -> None:
        super().__init__(z_dim)
        if components < 1:
            raise ValueError(f"components must be positive, got {components}")
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        if means is not None:
            if len(means) != components:
                raise ValueError(f"components must be {len(means)}, the number of means, got {components}")
            if any(len(mean) != z_dim for mean in means):
                raise ValueError(f"means must be rows of z_dim={z_dim} numbers, got {means}")
        places = spread_means(components, z_dim) if means is None else torch.tensor(means, dtype=torch.float32)
        log_scale = torch.full((components, z_dim), math.log(scale))
        if learn_weights:
            self.log_weight = nn.Parameter(torch.zeros(components))
        else:
            self.register_buffer("log_weight", torch.zeros(components))
        if learn:
            self.means = nn.Parameter(separation * places)
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("means", separation * places)
            self.register_buffer("log_scale", log_scale)

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,)."""
        weights = Categorical(logits=self.log_weight, validate_args=False)
        components = Normal(self.means, self.log_scale.exp(), validate_args=False)
        return MixtureSameFamily(weights, Independent(components, 1, validate_args=False), validate_args=False)
