"""Models: an encoder network and a decoder network each."""

from torch import nn


class Model(nn.Module):
    """A pair of networks, encoder and decoder, which know nothing of distributions.

    Subclasses take `x_shape` (C, H, W), `z_dim`, `encoder_size` (numbers the posterior reads per image) and
    `likelihood_size` (numbers the likelihood reads per pixel and channel), then their own options. For an `x_shape`
    that they cannot process they raise a ValueError that names a model which can.
    """

    encoder: nn.Module  # (B, C, H, W) -> (B, encoder_size)
    decoder: nn.Module  # (B, z_dim) -> (B, likelihood_size * C, H, W)
