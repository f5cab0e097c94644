"""Curves to Weights & Biases."""

import secrets
from pathlib import Path

from pytorch_lightning.loggers import WandbLogger


class Wandb(WandbLogger):
    """Lightning's logger for Weights & Biases, with an end: without one, a run there ends with the process."""

    def close(self) -> None:
        """End the run at Weights & Biases; what is left is written and sent."""
        self.experiment.finish()


def wandb(folder: Path, step: int, project: str, offline: bool) -> Wandb:
    """Return the logger of a run; a resumed run is the same run there, by its folder's hash.

    Each repeat with force=true, which is made in the folder .new/ of the run, is another run there.
    """
    import wandb as service

    home = folder.parent if folder.name == ".new" else folder
    identity = home.name[-8:]
    if folder != home:
        before = sorted(folder.glob(f"wandb/*run-*-{identity}-*"))  # sessions of this repeat
        identity = f"{identity}-{before[-1].name[-8:] if before and step else secrets.token_hex(4)}"
    run = service.init(
        project=project,
        dir=folder,
        mode="offline" if offline else None,
        name=home.name,
        id=identity,
        resume="allow",
        reinit="create_new",  # or else all runs of a process would be one
    )
    run.define_metric("trainer/global_step")  # as Lightning calls the step
    run.define_metric("*", step_metric="trainer/global_step", step_sync=True)
    return Wandb(experiment=run, project=project, save_dir=folder)
