"""Scheduler: a function (optimizer, steps, eval_every, settings) -> a learning-rate scheduler in Lightning's form.

`steps` is the length of the run and `eval_every` the number of steps between validations.
"""

from typing import Any

from torch.optim.lr_scheduler import LRScheduler


def every_step(scheduler: LRScheduler) -> dict[str, Any]:
    """Return a scheduler that is stepped after every optimiser step."""
    return {"scheduler": scheduler, "interval": "step"}
