"""Posterior q(z|x): turns the encoder's output into a distribution."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Posterior(nn.Module):
    """q(z|x) over codes of `z_dim` latents, read from `size` numbers per image."""

    def __init__(self, z_dim: int, size: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.size = size

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Encoder output `h` (B, size) to a distribution with batch_shape (B,), event_shape (z_dim,) and rsample."""
