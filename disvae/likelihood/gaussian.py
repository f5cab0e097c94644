"""log p(x|z) = sum over pixels of log N(x; mu(z), sigma^2)."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.likelihood import Likelihood
from disvae.likelihood.scale import Learn, Scale


class Gaussian(Likelihood):
    """For real-valued data. The scale trades against beta: halving it weighs the squared error four times as much."""

    def __init__(self, *, scale: float, learn: Learn) -> None:
        super().__init__()
        self.scale = Scale(scale, learn)
        self.size = self.scale.size

    def forward(self, h: Tensor) -> Distribution:
        """`h` (B, size * C, H, W), means first, to batch (B,), event (C, H, W)."""
        loc, scale = self.scale(h)
        return Independent(Normal(loc, scale, validate_args=False), 3, validate_args=False)
