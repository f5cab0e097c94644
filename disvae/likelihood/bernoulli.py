"""log p(x|z) = sum over pixels of x log y + (1 - x) log(1 - y), y = sigmoid(h)."""

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.likelihood import Likelihood


class Bernoulli(Likelihood):
    """For binary pixels. Grey ones in [0, 1] give the cross-entropy, which is then no normalised density."""

    def forward(self, h: Tensor) -> Distribution:
        """Logits `h` (B, C, H, W) to batch (B,), event (C, H, W)."""
        return Independent(distributions.Bernoulli(logits=h, validate_args=False), 3, validate_args=False)
