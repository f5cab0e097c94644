"""DCGAN (Radford et al. 2016) of three levels, 32-64-128 channels, as in Mathieu et al. 2019 for Fashion-MNIST."""

from collections.abc import Sequence

from torch import nn

from disvae.model import Model
from disvae.model.fit import require_side
from disvae.model.pixels import FromPixels, ToPixels


class DCGAN(Model):
    """A network for 32x32 images with batch normalisation.

    Training and evaluation mode therefore differ, and a batch needs several images.
    """

    def __init__(self, x_shape: Sequence[int], z_dim: int, encoder_size: int, likelihood_size: int) -> None:
        super().__init__()
        require_side(x_shape, 32, "dcgan")
        channels = x_shape[0]
        self.encoder = nn.Sequential(
            FromPixels(channels, 32, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),  # (B, 32, 16, 16)
            nn.Conv2d(32, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 128, 4, 2, 1, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.2),  # (B, 128, 4, 4)
            nn.Conv2d(128, encoder_size, 4),
            nn.Flatten(),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (z_dim, 1, 1)),
            nn.ConvTranspose2d(z_dim, 128, 4, bias=False), nn.BatchNorm2d(128), nn.ReLU(),  # (B, 128, 4, 4)
            nn.ConvTranspose2d(128, 64, 4, 2, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU(),
            nn.ConvTranspose2d(64, 32, 4, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            ToPixels(32, likelihood_size * channels, 4, 2, 1, bias=False),
        )  # fmt: skip
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
