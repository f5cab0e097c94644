"""Links turn an unbounded number h into a positive scale: exp(h / 2), or softplus(h) + 1e-6."""

from collections.abc import Callable
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Link = Literal["exp", "softplus"]


def exp_half(h: Tensor) -> Tensor:
    """Return exp(h / 2): `h` is a log-variance, as in Burgess et al. 2018 and Locatello et al. 2019.

    The result is finite and positive in float32 for |h| < 170.
    """
    return (h / 2).exp()


def floored_softplus(h: Tensor) -> Tensor:
    """Return softplus(h) + 1e-6, as Mathieu et al. 2019 do: linear for large `h`, never below 1e-6."""
    return F.softplus(h) + 1e-6


def link_function(link: Link) -> Callable[[Tensor], Tensor]:
    """Return the function that the name `link` stands for."""
    if link not in ("exp", "softplus"):
        raise ValueError(f"link must be exp or softplus, got {link}")
    return exp_half if link == "exp" else floored_softplus
