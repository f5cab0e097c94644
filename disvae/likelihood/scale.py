"""The scale of a likelihood: fixed, one learnt number, or scale * softplus(h) / log 2 + 1e-6 for each pixel."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Learn = Literal["none", "shared", "per_pixel"]


class Scale(nn.Module):
    """A module that splits the decoder's output into location and scale; a learnt scale starts at `scale`.

    A per-pixel scale starts there because softplus(0) = log 2. With scale=0.6931 it is softplus(h), as in the network
    of Mathieu et al. 2019 for the pinwheel.
    """

    log_scale: Tensor  # ()

    def __init__(self, scale: float, learn: Learn) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        if learn not in ("none", "shared", "per_pixel"):
            raise ValueError(f"learn must be none, shared or per_pixel, got {learn}")
        self.size = 2 if learn == "per_pixel" else 1
        log_scale = torch.tensor(math.log(scale))
        if learn == "shared":
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return location (B, C, H, W) and scale, () or (B, C, H, W), from `h` (B, size * C, H, W)."""
        scale = self.log_scale.exp()
        if self.size == 1:
            return h, scale
        loc, raw = h.chunk(2, dim=1)
        return loc, scale * F.softplus(raw) / math.log(2) + 1e-6
