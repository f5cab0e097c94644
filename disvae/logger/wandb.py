"""Curves to Weights & Biases."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, WandbLogger


def wandb(folder: Path, step: int, project: str, offline: bool) -> Logger:
    """Return Lightning's logger for Weights & Biases; a resumed run is the same run there, by its folder's hash."""
    return WandbLogger(
        project=project, save_dir=folder, offline=offline, name=folder.name, id=folder.name[-8:], resume="allow"
    )
