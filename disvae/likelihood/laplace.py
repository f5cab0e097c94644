"""log p(x|z) = sum over pixels of log Laplace(x; mu(z), b)."""

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.likelihood import Likelihood
from disvae.likelihood.scale import Learn, Scale


class Laplace(Likelihood):
    """A likelihood with absolute error, which forgives outliers; Mathieu et al. 2019 use b = 0.1 on Fashion-MNIST."""

    def __init__(self, *, scale: float, learn: Learn) -> None:
        super().__init__()
        self.scale = Scale(scale, learn)
        self.size = self.scale.size

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (C, H, W) from `h` (B, size * C, H, W), locations first."""
        loc, scale = self.scale(h)
        return Independent(distributions.Laplace(loc, scale, validate_args=False), 3, validate_args=False)
