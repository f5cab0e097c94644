"""Lightning's checkpoints: written whole or not at all, checked when read, and resumed after their step."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_fabric.plugins import CheckpointIO

from disvae.runs.checkpoint import load, save


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
