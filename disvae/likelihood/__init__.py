"""Likelihood p(x|z): turns the decoder's output into a normalised density of images."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module):
    """p(x|z) read from `size` numbers per pixel and channel."""

    size: int = 1

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Decoder output `h` (B, size * C, H, W) to a distribution with batch_shape (B,), event_shape (C, H, W)."""
