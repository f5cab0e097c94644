"""log p(x|z) = sum over pixels of x log y + (1 - x) log(1 - y), y = sigmoid(h)."""

import logging

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.likelihood import Likelihood

log = logging.getLogger(__name__)


class Bernoulli(Likelihood):
    """For binary pixels. Grey ones in [0, 1] give the cross-entropy, which is then no normalised density."""

    def check(self, x: Tensor) -> None:
        """Refuses values outside [0, 1], and says what grey ones mean."""
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError("images must be in [0, 1] for likelihood=bernoulli: type likelihood=gaussian")
        if ((x > 0) & (x < 1)).any():
            log.warning(
                "likelihood=bernoulli on grey images is a cross-entropy, not a normalised density: its reconstruction "
                "and ELBO compare only among themselves; likelihood=laplace and likelihood=gaussian are densities"
            )

    def forward(self, h: Tensor) -> Distribution:
        """Logits `h` (B, C, H, W) to batch (B,), event (C, H, W)."""
        return Independent(distributions.Bernoulli(logits=h, validate_args=False), 3, validate_args=False)
