"""The learning rate is cut when a logged value has not improved for several validations."""

from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau


def plateau(
    optimizer: Optimizer,
    steps: int,
    eval_every: int,
    monitor: str,
    mode: Literal["min", "max"],
    factor: float,
    patience: int,
) -> dict[str, Any]:
    """Multiply the learning rate by `factor` after more than `patience` validations without improvement."""
    if not 0 < factor < 1 or patience < 0:
        raise ValueError(f"factor must be in (0, 1) and patience at least 0, got {factor} and {patience}")
    scheduler = ReduceLROnPlateau(optimizer, mode=mode, factor=factor, patience=patience)
    return {"scheduler": scheduler, "interval": "step", "frequency": eval_every, "monitor": monitor}
