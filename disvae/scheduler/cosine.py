"""lr(t) = last + (lr - last) (1 + cos(pi t / steps)) / 2, Loshchilov & Hutter 2017, eq. 5, without restarts."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from disvae.scheduler import every_step


def cosine(optimizer: Optimizer, steps: int, eval_every: int, last: float) -> dict[str, Any]:
    """Let the learning rate fall from its value to `last` over the whole run."""
    if last < 0:
        raise ValueError(f"last must not be negative, got {last}")
    return every_step(CosineAnnealingLR(optimizer, T_max=steps, eta_min=last))
