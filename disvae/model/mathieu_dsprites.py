"""Convolutions 32-32-64-64 (4x4, stride 2), 128 without activation, and back; Mathieu et al. 2019 (dSprites)."""

from collections.abc import Sequence

from torch import nn

from disvae.model import Initial, Model
from disvae.model.fit import require_side
from disvae.model.pixels import FromPixels, ToPixels


class MathieuDSprites(Model):
    """A network for 64x64 images: FactorVAE's encoder (Kim & Mnih 2018) and a somewhat wider decoder (64-64-32).

    With `decoder_channels` (64, 32, 32) the decoder is FactorVAE's, too: model=kim_factor.
    """

    def __init__(
        self,
        x_shape: Sequence[int],
        z_dim: int,
        encoder_size: int,
        likelihood_size: int,
        decoder_channels: Sequence[int] = (64, 64, 32),
        *,
        init: Initial = "torch",
    ) -> None:
        super().__init__()
        require_side(x_shape, 64, "mathieu_dsprites")
        channels = x_shape[0]
        if len(decoder_channels) != 3 or min(decoder_channels) < 1:
            raise ValueError(f"decoder_channels must be three positive numbers, got {list(decoder_channels)}")
        first, second, third = decoder_channels
        self.encoder = nn.Sequential(
            FromPixels(channels, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, 32, 32)
            nn.Conv2d(32, 32, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1), nn.ReLU(),
            nn.Conv2d(64, 64, 4, 2, 1), nn.ReLU(),  # (B, 64, 4, 4)
            nn.Flatten(),
            nn.Linear(1024, 128),  # no activation, as in the released code
            nn.Linear(128, encoder_size),
        )  # fmt: skip
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, 128), nn.ReLU(),
            nn.Linear(128, 1024), nn.ReLU(),
            nn.Unflatten(1, (64, 4, 4)),
            nn.ConvTranspose2d(64, first, 4, 2, 1), nn.ReLU(),  # (B, 64, 8, 8)
            nn.ConvTranspose2d(first, second, 4, 2, 1), nn.ReLU(),
            nn.ConvTranspose2d(second, third, 4, 2, 1), nn.ReLU(),
            ToPixels(third, likelihood_size * channels, 4, 2, 1),
        )  # fmt: skip
        self.draw_weights(init)
