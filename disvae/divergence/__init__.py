"""Divergences D(q(z), p(z)) between the aggregate posterior and the prior."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Divergence(nn.Module):
    """A scalar estimate of D(q(z), p(z)) from one minibatch, differentiable in q and p."""

    least_batch: int = 1
    """The least number of codes from which D can be estimated."""

    @abstractmethod
    def forward(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the scalar D of `qz_x` (batch (B,), event (D,)) and `pz` (event (D,)); `z` (B, D) samples q(z|x)."""

    def fit_loss(self, qz_x: Distribution, pz: Distribution, z: Tensor) -> Tensor:
        """Return the loss of the divergence's own parameters on detached codes, zero if it has no parameters."""
        return z.new_zeros(())
