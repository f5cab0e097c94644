"""Likelihood p(x|z): turns the decoder's output into a normalised density of images."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module):
    """p(x|z) read from `size` numbers per pixel and channel."""

    size: int = 1

    def check(self, x: Tensor) -> None:
        """Raises ValueError, saying what to type instead, when images `x` (n, C, H, W) have no density under it."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Decoder output `h` (B, size * C, H, W) to a distribution with batch_shape (B,), event_shape (C, H, W)."""
