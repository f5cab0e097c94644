"""Model: an encoder network and a decoder network."""

from torch import nn


class Model(nn.Module):
    """A pair of networks that know nothing of distributions.

    Leaves are built with `x_shape` (C, H, W), `z_dim`, `encoder_size` (numbers the posterior reads per image) and
    `likelihood_size` (numbers the likelihood reads per pixel and channel), then their own options. They refuse an
    `x_shape` they cannot process with a ValueError that names a model which can.
    """

    encoder: nn.Module  # (B, C, H, W) -> (B, encoder_size)
    decoder: nn.Module  # (B, z_dim) -> (B, likelihood_size * C, H, W)
