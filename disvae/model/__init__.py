"""Models: an encoder network and a decoder network each."""

from typing import Literal

from torch import nn

Initial = Literal["torch", "glorot", "he"]
"""How first weights are drawn; constructors default to `torch`, for runs of versions without the option."""


class Model(nn.Module):
    """A pair of networks, encoder and decoder, which know nothing of distributions.

    Subclasses take `x_shape` (C, H, W), `z_dim`, `encoder_size` (numbers the posterior reads per image) and
    `likelihood_size` (numbers the likelihood reads per pixel and channel), then their own options. For an `x_shape`
    that they cannot process they raise a ValueError that names a model which can.
    """

    encoder: nn.Module  # (B, C, H, W) -> (B, encoder_size)
    decoder: nn.Module  # (B, z_dim) -> (B, likelihood_size * C, H, W)

    def draw_weights(self, init: Initial) -> None:
        """Draw the first weights of both networks.

        `torch` leaves the layers as PyTorch draws them, with the variance 1 / (3 inputs) and small biases. `glorot` is
        uniform with the variance 2 / (inputs + outputs) and biases of 0 (Glorot & Bengio 2010), TensorFlow's default.
        `he` is uniform with the variance 2 / inputs (He et al. 2015), and the biases are PyTorch's.

        Raises:
            ValueError: `init` is none of them.
        """
        if init not in ("torch", "glorot", "he"):
            raise ValueError(f"init must be torch, glorot or he, got {init}")
        for layer in self.modules():
            if init == "torch" or not isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
                continue
            if init == "he":
                nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
