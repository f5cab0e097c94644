"""lr(t) = lr * factor^floor(t / every)."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from disvae.scheduler import every_step


def step(optimizer: Optimizer, steps: int, eval_every: int, every: int, factor: float) -> dict[str, Any]:
    """Multiply the learning rate by `factor` after each `every` steps."""
    if every < 1 or factor <= 0:
        raise ValueError(f"every must be at least 1 and factor positive, got {every} and {factor}")
    return every_step(StepLR(optimizer, step_size=every, gamma=factor))
