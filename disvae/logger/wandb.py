"""Curves to Weights & Biases."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, WandbLogger


def wandb(folder: Path, step: int, project: str, offline: bool) -> Logger:
    """Return Lightning's logger for Weights & Biases; a resumed run is the same run there, by its folder's hash.

    A repeat with force=true, which is made in the folder .new/ of the run, is another run there.
    """
    home, more = (folder.parent, "-repeat") if folder.name == ".new" else (folder, "")
    name, number = home.name, home.name[-8:] + more
    return WandbLogger(project=project, save_dir=folder, offline=offline, name=name, id=number, resume="allow")
