"""4x4 convolutions of 32 channels at stride 2 down to 4x4, two layers of 256, and their mirror; Burgess et al. 2018."""

from collections.abc import Sequence

from torch import nn

from disvae.model import Initial, Model
from disvae.model.fit import require_power_of_two
from disvae.model.pixels import FromPixels, ToPixels


class Conv(Model):
    """The usual network for 64x64 images: four convolutions, 502,005 parameters with one channel and ten latents.

    Other powers of two have a convolution for each halving of the side: two for 16x16, six for 256x256.
    """

    def __init__(
        self, x_shape: Sequence[int], z_dim: int, encoder_size: int, likelihood_size: int, *, init: Initial = "torch"
    ) -> None:
        super().__init__()
        halvings = require_power_of_two(x_shape, "conv")
        channels = x_shape[0]
        self.encoder = nn.Sequential(
            FromPixels(channels, 32, 4, 2, 1), nn.ReLU(),  # (B, 32, H / 2, W / 2)
            *_repeated(nn.Conv2d, halvings - 1),  # (B, 32, 4, 4)
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
            *_repeated(nn.ConvTranspose2d, halvings - 1),  # (B, 32, H / 2, W / 2)
            ToPixels(32, likelihood_size * channels, 4, 2, 1),
        )  # fmt: skip
        self.draw_weights(init)


def _repeated(layer: type[nn.Conv2d] | type[nn.ConvTranspose2d], count: int) -> list[nn.Module]:
    return [module for _ in range(count) for module in (layer(32, 32, 4, 2, 1), nn.ReLU())]
