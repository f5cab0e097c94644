"""Priors p(z): modules whose forward returns the distribution of one code."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Prior(nn.Module):
    """A prior p(z) over codes of `z_dim` latents; subclasses take `z_dim` first, then their own options by keyword."""

    from_images: bool = False
    """True if `initialise` must be called before training."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @abstractmethod
    def forward(self) -> Distribution:
        """Return the distribution, with batch_shape () and event_shape (z_dim,)."""

    def initialise(self, images: Tensor) -> None:
        """Set the prior up from training images (n, C, H, W); called once before training if `from_images` is true."""
