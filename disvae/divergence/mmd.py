"""MMD^2 = E k(z, z') + E k(y, y') - 2 E k(z, y), z ~ q(z), y ~ p(z): Gretton et al. 2012."""

from typing import Literal

from torch import Tensor
from torch.distributions import Distribution

from disvae.divergence import Divergence
from disvae.estimators import mmd, rsample


class MMD(Divergence):
    """The squared maximum mean discrepancy; it is not in nats, its scale is that of the kernel.

    The estimate is unbiased, so it is negative at times. scope=per_dimension sees the marginals only: latents may
    depend on each other at no cost. scope=joint sees the dependence too.
    """

    least_batch = 2

    def __init__(self, kernel: Literal["imq", "rbf"], scope: Literal["joint", "per_dimension"]) -> None:
        super().__init__()
        if kernel not in ("imq", "rbf"):
            raise ValueError(f"kernel must be imq or rbf, got {kernel}")
        if scope not in ("joint", "per_dimension"):
            raise ValueError(f"scope must be joint or per_dimension, got {scope}")
        self.kernel: Literal["imq", "rbf"] = kernel
        self.scope: Literal["joint", "per_dimension"] = scope

    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the scalar estimate from the batch's codes and as many codes of the prior."""
        return mmd(rsample(pz, len(z)), z, self.kernel, self.scope)
