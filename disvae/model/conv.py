"""Four 4x4 convolutions of 32 channels at stride 2, two layers of 256, and their mirror; Burgess et al. 2018."""

from collections.abc import Sequence

from torch import nn

from disvae.model import Model
from disvae.model.fit import require_side
from disvae.model.pixels import FromPixels, ToPixels


class Conv(Model):
    """The usual network for 64x64 images; 502,005 parameters with one channel, ten latents and a diagonal Gaussian."""

    def __init__(self, x_shape: Sequence[int], z_dim: int, encoder_size: int, likelihood_size: int) -> None:
        super().__init__()
        require_side(x_shape, 64, "conv")
        channels = x_shape[0]
        self.encoder = nn.Sequential(
            FromPixels(channels, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, 32, 32)
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, 4, 4)
            nn.Flatten(),
            nn.Linear(512, 256), nn.ReLU(),
            nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, encoder_size),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, 256), nn.ReLU(),
            nn.Linear(256, 256), nn.ReLU(),
            nn.Linear(256, 512), nn.ReLU(),
            nn.Unflatten(1, (32, 4, 4)),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, 8, 8)
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
            ToPixels(32, likelihood_size * channels, 4, 2, 1),
        )  # fmt: skip
