"""Likelihoods p(x|z): modules that turn the decoder's output into a normalised density of images."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module):
    """A likelihood p(x|z), read from `size` numbers per pixel and channel."""

    size: int = 1

    def check(self, x: Tensor) -> None:
        """Raise ValueError, saying what to type instead, if images `x` (n, C, H, W) have no density under it."""

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return a distribution, batch (B,) and event (C, H, W), from decoder output `h` (B, size * C, H, W)."""
