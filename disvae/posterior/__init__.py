"""Posteriors q(z|x): modules that turn the encoder's output into a distribution."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Posterior(nn.Module):
    """A posterior q(z|x) over codes of `z_dim` latents, read from `size` numbers per image."""

    unit: bool = False
    """True if the variance of every continuous latent is 1, whatever the image."""

    def __init__(self, z_dim: int, size: int) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.size = size

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return a distribution, batch (B,) and event (z_dim,), that has rsample, from encoder output `h` (B, size)."""
