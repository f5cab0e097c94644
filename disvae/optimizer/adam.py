"""Adam (Kingma & Ba 2015): theta -= lr * m / (sqrt(v) + eps), m and v bias-corrected moments of the gradient."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

FUSED = {"cpu", "cuda"}
"""The devices on which torch updates all parameters in one call."""


def adam(
    params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, betas: list[float], eps: float, amsgrad: bool
) -> torch.optim.Adam:
    """Return Adam over parameters or groups; a group's own lr, betas, ... replace those given here."""
    if not (lr > 0 and eps > 0):
        raise ValueError(f"lr and eps must be positive, got {lr} and {eps}")
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(f"betas must be two numbers in [0, 1), got {list(betas)}")
    groups: list[Any] = [{**p, "params": list(p["params"])} if isinstance(p, dict) else p for p in params]
    tensors = [tensor for group in groups for tensor in (group["params"] if isinstance(group, dict) else [group])]
    devices = {tensor.device.type for tensor in tensors}
    return torch.optim.Adam(
        groups,
        lr=lr,
        betas=(betas[0], betas[1]),
        eps=eps,
        amsgrad=amsgrad,
        fused=devices <= FUSED,
        capturable=devices == {"cuda"},  # works inside a CUDA graph
    )
