"""log p(x|z) = sum over pixels of x log y + (1 - x) log(1 - y), y = sigmoid(h)."""

import logging

from torch import Tensor, distributions
from torch.distributions import Distribution, Independent

from disvae.likelihood import Likelihood

log = logging.getLogger(__name__)


class Bernoulli(Likelihood):
    """A likelihood for binary pixels; for grey ones in [0, 1] it is the cross-entropy, not a normalised density."""

    def check(self, x: Tensor) -> None:
        """Raise ValueError for values outside [0, 1], and warn of grey ones."""
        if not ((x >= 0) & (x <= 1)).all():
            raise ValueError("images must be in [0, 1] for likelihood=bernoulli: type likelihood=gaussian")
        if ((x > 0) & (x < 1)).any():
            log.warning(
                "likelihood=bernoulli on grey images is a cross-entropy, not a normalised density: compare its "
                "reconstruction and ELBO with other such runs only; likelihood=laplace and =gaussian are densities"
            )

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (C, H, W) from logits `h` (B, C, H, W)."""
        return Independent(distributions.Bernoulli(logits=h, validate_args=False), 3, validate_args=False)
