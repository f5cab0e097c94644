"""Curves as one CSV table, metrics.csv, in the folder csv/ of the run."""

from pathlib import Path

from pytorch_lightning.loggers import CSVLogger


def csv(folder: Path, step: int) -> CSVLogger:
    """Return Lightning's CSV logger; a run that goes on writes the part from `step` into a folder of its own."""
    return CSVLogger(folder, name="csv", version=f"from-step-{step}")
