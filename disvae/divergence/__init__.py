"""Divergence D(q(z), p(z)) between the aggregate posterior and the prior."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Divergence(nn.Module):
    """D(q(z), p(z)) estimated from one minibatch, differentiable in q and p, a scalar."""

    @abstractmethod
    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """`qz_x` batch (B,), event (D,); `pz` event (D,); `z` (B, D), one sample of each q(z|x). Returns a scalar."""

    def fit_loss(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """What the divergence's own parameters minimise, on detached codes; zero when it has none."""
        return z.new_zeros(())
