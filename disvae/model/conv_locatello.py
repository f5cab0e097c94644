"""Convolutions 32-32 (4x4) and 64-64 (2x2) at stride 2, then 256; Locatello et al. 2019, after Higgins et al. 2017."""

from collections.abc import Sequence

from torch import nn

from disvae.model import Initial, Model
from disvae.model.fit import require_side
from disvae.model.pixels import FromPixels, ToPixels


class ConvLocatello(Model):
    """The 64x64 network of the 12,600-model study: choose it to compare scores with that study, otherwise `conv`."""

    def __init__(
        self, x_shape: Sequence[int], z_dim: int, encoder_size: int, likelihood_size: int, *, init: Initial = "torch"
    ) -> None:
        super().__init__()
        require_side(x_shape, 64, "conv_locatello")
        channels = x_shape[0]
        self.encoder = nn.Sequential(
            FromPixels(channels, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, 32, 32)
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 64, 2, 2), nn.ReLU(),
            nn.Conv2d(64, 64, 2, 2), nn.ReLU(),  # (B, 64, 4, 4)
            nn.Flatten(),
            nn.Linear(1024, 256), nn.ReLU(),
            nn.Linear(256, encoder_size),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, 256), nn.ReLU(),
            nn.Linear(256, 1024), nn.ReLU(),
            nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, 64, 4, 2, 1), nn.ReLU(),  # (B, 64, 8, 8)
            nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
            ToPixels(32, likelihood_size * channels, 4, 2, 1),
        )  # fmt: skip
        self.draw_weights(init)
