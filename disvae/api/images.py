"""Images in the forms that people have them, as a VAE takes them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from disvae.config import ConfigError


def images_of(x: Any, x_shape: tuple[int, ...]) -> Tensor:
    """Return images (N, C, H, W), (N, H, W, C) or, with one channel, (N, H, W) as float32 of `x_shape` (C, H, W).

    uint8 becomes [0, 1]: it is divided by 255, unless no value is above 1.

    Raises:
        ConfigError: the shape or the values are of another kind; the message says what they must be.
    """
    images = torch.as_tensor(np.asarray(x) if not isinstance(x, Tensor) else x)
    C, *sides = x_shape
    if images.shape[1:] == (*sides, C) != (C, *sides):
        images = images.movedim(-1, 1)
    if C == 1 and images.shape[1:] == tuple(sides):
        images = images[:, None]
    if images.dim() < 2 or images.shape[1:] != x_shape:
        raise ConfigError(f"images must be (N, {', '.join(map(str, x_shape))}), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images.float().div_(255 if images.numel() and images.max() > 1 else 1)
    images = images.float()
    if not images.isfinite().all():
        raise ConfigError("images must be finite, got nan or inf: leave such images out")
    is_picture = C in (1, 3) and min(sides) > 1
    if is_picture and images.numel() and not (images.min() >= 0 and images.max() <= 1):
        raise ConfigError(f"images must be uint8 or in [0, 1], got {images.min():g} to {images.max():g}: rescale them")
    return images
