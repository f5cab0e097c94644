"""Lightning's checkpoints: written whole or not at all, checked when read, and resumed after their step."""

import math
import reprlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_fabric.plugins import CheckpointIO

from disvae.config import ConfigError
from disvae.runs.checkpoint import load, save
from disvae.training.module import OF_DEVICE, VAEModule


class AtomicCheckpointIO(CheckpointIO):
    """Write a checkpoint beside its place and rename it; read tensors and plain containers only."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; an older one at `path` stays intact until the new one is on the disk."""
        save(checkpoint, Path(path))

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Return a checkpoint on the CPU, as one that was made right after its step.

        Checkpoints of versions before this one hold no state of Lightning's loop.
        """
        checkpoint = load(Path(path))
        checkpoint["loops"] = {"fit_loop": loop_state(checkpoint["global_step"])}
        defaults = {
            "callbacks": {},
            "lr_schedulers": [],
            "epoch": 0,
            "pytorch-lightning_version": version("pytorch-lightning"),
        }
        return defaults | checkpoint

    def remove_checkpoint(self, path: Any) -> None:
        """Delete the checkpoint at `path`."""
        Path(path).unlink(missing_ok=True)


def resume(module: VAEModule, checkpoint: dict[str, Any], steps: int, path: Path) -> None:
    """Give a module the weights and terms of the checkpoint at `path`, which has to be of a run like this one.

    Raises:
        ConfigError: the step, a weight or the optimiser's state does not fit the run.
    """
    try:
        if checkpoint["global_step"] > steps:
            raise ValueError(f"it is of step {checkpoint['global_step']:,}, but the run has {steps:,} steps")
        module.load_state_dict(checkpoint["state_dict"])
        groups = module.new_optimizer().param_groups
        [optimizer] = checkpoint["optimizer_states"]
        if [len(group["params"]) for group in groups] != [len(own["params"]) for own in optimizer["param_groups"]]:
            raise ValueError("its optimiser has other groups of parameters")
        parameters = [p for group in groups for p in group["params"]]
        for own, saved in zip(groups, optimizer["param_groups"], strict=True):
            for name in own.keys() & saved.keys() - {"params", *OF_DEVICE}:
                if not _alike(own[name], saved[name]):
                    raise ValueError(f"{name} of its optimiser is {reprlib.repr(saved[name])}")
        for i, of in optimizer["state"].items():
            for name, value in of.items():
                if value.shape not in ((), parameters[i].shape):
                    raise ValueError(f"{name} of parameter {i} has the shape {tuple(value.shape)}")
                if value.isnan().any() or (name == "step" and not 0 <= value <= checkpoint["global_step"]):
                    raise ValueError(f"{name} of parameter {i} is {value.flatten()[0]:g}")
    except (RuntimeError, ValueError, LookupError, AttributeError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path} does not fit the run ({reason}): repeat the run's command with force=true"
        ) from error
    module.on_load_checkpoint(checkpoint)


def _alike(own: Any, saved: Any) -> bool:
    """Return whether two settings of an optimiser are of one kind; their values may differ, as schedulers do it."""
    if isinstance(own, (int, float)) and type(saved) in (int, float):
        return math.isfinite(saved)
    if isinstance(own, (tuple, list)) and isinstance(saved, (tuple, list)):
        return len(own) == len(saved) and all(map(_alike, own, saved))
    return type(own) is type(saved)


def loop_state(step: int) -> dict[str, Any]:
    """Return the state of Lightning's fit loop after `step` steps of its one epoch.

    A validation may have followed the step, or not: neither is repeated. So the state is the one that a checkpoint
    has which is made at the end of a batch, whenever it was really made.
    """

    def counts(**total: int) -> dict[str, dict[str, int]]:
        return {"total": total, "current": dict(total)}

    batches = counts(ready=step, started=step, processed=step, completed=step - 1)
    steps = {"step": counts(ready=step, completed=step), "zero_grad": counts(ready=step, started=step, completed=step)}
    return {
        "epoch_progress": counts(ready=1, started=1, processed=0, completed=0),
        "epoch_loop.state_dict": {"_batches_that_stepped": step - 1},
        "epoch_loop.batch_progress": {**batches, "is_last_batch": False},
        "epoch_loop.automatic_optimization.optim_progress": {"optimizer": steps},
    }
