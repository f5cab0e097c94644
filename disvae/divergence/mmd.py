"""MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y), z ~ q(z), y ~ p(z): Gretton et al. 2012."""

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution

from disvae.divergence import Divergence
from disvae.estimators import mmd, rsample


class MMD(Divergence):
    """Squared maximum mean discrepancy, unbiased, so below zero at times; no nats, its scale is the kernel's.

    `per_dimension` sees the marginals only: latents may depend on each other at no cost. `joint` sees all.
    """

    def __init__(self, kernel: Literal["imq", "rbf"], scope: Literal["joint", "per_dimension"]) -> None:
        super().__init__()
        if kernel not in ("imq", "rbf"):
            raise ValueError(f"kernel must be imq or rbf, got {kernel}")
        if scope not in ("joint", "per_dimension"):
            raise ValueError(f"scope must be joint or per_dimension, got {scope}")
        self.kernel: Literal["imq", "rbf"] = kernel
        self.scope: Literal["joint", "per_dimension"] = scope

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Scalar, from the batch's codes and as many of the prior."""
        return mmd(rsample(pz, len(z)), z, self.kernel, self.scope)
