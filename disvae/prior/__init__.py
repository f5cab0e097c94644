"""Prior p(z): a module whose forward returns the distribution of one code."""

from abc import abstractmethod

from torch import Tensor, nn
from torch.distributions import Distribution


class Prior(nn.Module):
    """p(z) over codes of `z_dim` latents. Leaves take `z_dim` first, then their own options by keyword."""

    from_images: bool = False
    """Whether `initialise` is to be called before training."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    @abstractmethod
    def forward(self) -> Distribution:
        """Distribution with batch_shape () and event_shape (z_dim,)."""

    def initialise(self, images: Tensor) -> None:
        """Called once before training with training images (n, C, H, W), if the prior is `from_images`."""
