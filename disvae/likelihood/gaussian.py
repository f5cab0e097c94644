"""log p(x|z) = sum over pixels of log N(x; mu(z), sigma^2)."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from disvae.likelihood import Likelihood
from disvae.likelihood.scale import Learn, Scale


class Gaussian(Likelihood):
    """A likelihood for real-valued data; halving the scale weighs the squared error four times as much."""

    def __init__(self, *, scale: float, learn: Learn) -> None:
        super().__init__()
        self.scale = Scale(scale, learn)
        self.size = self.scale.size

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (C, H, W) from `h` (B, size * C, H, W), means first."""
        loc, scale = self.scale(h)
        return Independent(Normal(loc, scale, validate_args=False), 3, validate_args=False)
