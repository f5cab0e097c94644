"""Adagrad (Duchi et al. 2011): theta -= lr * g / (sqrt(sum of g^2) + eps), as in Higgins et al. 2017 on dSprites."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


def adagrad(params: Iterable[Tensor] | Iterable[dict[str, Any]], lr: float, eps: float) -> torch.optim.Adagrad:
    """Return Adagrad over parameters or groups; a group's own lr replaces the one given here.

    Raises:
        ValueError: lr or eps is not positive, or a group has settings of Adam, such as a discriminator's betas.
    """
    if not (lr > 0 and eps > 0):
        raise ValueError(f"lr and eps must be positive, got {lr} and {eps}")
    groups: list[Any] = [{**p, "params": list(p["params"])} if isinstance(p, dict) else p for p in params]
    for group in groups:
        if isinstance(group, dict) and "betas" in group:
            raise ValueError("this objective's discriminator needs Adam's betas: type optimizer=adam")
    tensors = [tensor for group in groups for tensor in (group["params"] if isinstance(group, dict) else [group])]
    on_gpu = {tensor.device.type for tensor in tensors} == {"cuda"}
    # Fused, it counts its steps on the device. Otherwise it counts on the CPU, which a CUDA graph would not repeat.
    return torch.optim.Adagrad(groups, lr=lr, eps=eps, fused=on_gpu or None)
