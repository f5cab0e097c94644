"""End a run when a logged value has not improved for several validations."""

from typing import Literal

from pytorch_lightning import callbacks


def early_stopping(monitor: str, mode: Literal["min", "max"], patience: int, min_delta: float) -> callbacks.Callback:
    """Return Lightning's EarlyStopping, which looks at each validation."""
    if patience < 1:
        raise ValueError(f"patience must be at least 1 validation, got {patience}")
    return callbacks.EarlyStopping(monitor=monitor, mode=mode, patience=patience, min_delta=min_delta)
