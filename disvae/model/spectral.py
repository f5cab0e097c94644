"""Convolutions 32-32-64-64 and 128 with spectral norm (Miyato et al. 2018), and a generator 128-1024-64-32-32.

The networks of "InfoGAN (modified)" in Lin et al. 2020, which reached a FactorVAE score of .82 on dSprites.
"""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from disvae.model import Model
from disvae.model.fit import require_power_of_two
from disvae.model.pixels import FromPixels, ToPixels

CHANNELS = {2: [32, 64], 3: [32, 64, 64], 4: [32, 32, 64, 64], 5: [32, 32, 64, 64, 64], 6: [32, 32, 64, 64, 64, 64]}
"""Channels of the encoder's convolutions by how often the side is halved; the decoder has them in reverse."""


class Spectral(Model):
    """Networks for objective=infogan: an encoder whose layers cannot grow steep, and a decoder with batch norm.

    Every layer of the encoder but the last has spectral norm. Images are squares of 16 to 256 pixels.
    """

    def __init__(self, x_shape: Sequence[int], z_dim: int, encoder_size: int, likelihood_size: int) -> None:
        super().__init__()
        channels = CHANNELS[require_power_of_two(x_shape, "spectral")]
        convolutions = [spectral_norm(FromPixels(x_shape[0], channels[0], 4, 2, 1)), nn.LeakyReLU(0.2)]
        for n_in, n_out in pairwise(channels):
            convolutions += [spectral_norm(nn.Conv2d(n_in, n_out, 4, 2, 1)), nn.LeakyReLU(0.2)]
        flat = 16 * channels[-1]
        self.encoder = nn.Sequential(
            *convolutions, nn.Flatten(),
            spectral_norm(nn.Linear(flat, 128)), nn.LeakyReLU(0.2),
            nn.Linear(128, encoder_size),
        )  # fmt: skip
        back = channels[::-1]
        deconvolutions: list[nn.Module] = []
        for n_in, n_out in pairwise(back):
            deconvolutions += [nn.ConvTranspose2d(n_in, n_out, 4, 2, 1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU()]
        self.decoder = nn.Sequential(
            nn.Linear(z_dim, 128, bias=False), nn.BatchNorm1d(128), nn.ReLU(),
            nn.Linear(128, flat, bias=False), nn.BatchNorm1d(flat), nn.ReLU(),
            nn.Unflatten(1, (back[0], 4, 4)),
            *deconvolutions,
            ToPixels(back[-1], likelihood_size * x_shape[0], 4, 2, 1),
        )  # fmt: skip
