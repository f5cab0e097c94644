"""Fully connected layers over the flattened image; Higgins et al. 2017, table 1, and Mathieu et al. 2019 (pinwheel)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from torch import nn

from disvae.model import Initial, Model

Activation = Literal["relu", "tanh"]


def perceptron(widths: Sequence[int], activation: Activation) -> nn.Sequential:
    """Return linear layers of widths[0] to widths[-1] units with the activation between them."""
    if not all(width > 0 for width in widths):
        raise ValueError(f"widths of layers must be positive, got {list(widths)}")
    if max(widths) > 100_000:
        raise ValueError(f"widths of layers must be at most 100,000, or weights fill the memory, got {max(widths)}")
    if activation not in ("relu", "tanh"):
        raise ValueError(f"activation must be relu or tanh, got {activation}")
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(widths):
        layers += [nn.Linear(n_in, n_out), nn.ReLU() if activation == "relu" else nn.Tanh()]
    return nn.Sequential(*layers[:-1])


class MLP(Model):
    """A fully connected network for any shape of image: points of a plane, or whole images without convolutions."""

    def __init__(
        self,
        x_shape: Sequence[int],
        z_dim: int,
        encoder_size: int,
        likelihood_size: int,
        *,
        encoder_hidden: list[int],
        decoder_hidden: list[int],
        encoder_activation: Activation,
        decoder_activation: Activation,
        init: Initial = "torch",
    ) -> None:
        super().__init__()
        pixels = math.prod(x_shape)
        encode = perceptron([pixels, *encoder_hidden, encoder_size], encoder_activation)
        decode = perceptron([z_dim, *decoder_hidden, likelihood_size * pixels], decoder_activation)
        self.encoder = nn.Sequential(nn.Flatten(), *encode)
        self.decoder = nn.Sequential(*decode, nn.Unflatten(1, (likelihood_size * x_shape[0], *x_shape[1:])))
        self.draw_weights(init)
