"""What changes from step to step of a run beside its images and noise: the weights of its objective.

Schedules are read by the Python of every step; a captured graph runs no Python, and packed runs share one. So an
objective's schedules are fed: each gives out a scalar tensor, filled before the step with what the schedule says.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from disvae.schedule import Schedule


class Fed(Schedule):
    """Stands for a schedule of an objective; gives out the tensor () it was fed last, whatever the step."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.now = torch.zeros(())

    def __call__(self, step: int) -> Any:
        """The weight as a tensor ()."""
        return self.now

    @property
    def is_zero(self) -> bool:
        """Zero at every step."""
        return self.schedule.is_zero


class AnyStep:
    """The `Draw.step` of a captured graph or of packed runs: schedules take it, anything else that reads it fails."""

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("an objective may read draw.step through its schedules alone")

    __int__ = __index__ = __float__ = __bool__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = _refuse


class Weights:
    """The schedules of an objective and its parts, in a fixed order, fed from here on."""

    def __init__(self, objective: nn.Module) -> None:
        self.fed: list[Fed] = []
        for part in objective.modules():
            for name, value in sorted(vars(part).items()):
                if isinstance(value, Schedule):
                    fed = value if isinstance(value, Fed) else Fed(value)
                    setattr(part, name, fed)
                    self.fed.append(fed)

    def at(self, steps: Sequence[int]) -> Tensor:
        """What the schedules say (len(steps), schedules) at each of `steps`, on the CPU."""
        said = [[fed.schedule(step) for fed in self.fed] for step in steps]
        return torch.tensor(said, dtype=torch.float32).view(len(steps), len(self.fed))

    def feed(self, now: Tensor) -> None:
        """Give `now` (schedules,) to the objective; no copy is made."""
        for fed, value in zip(self.fed, now, strict=True):
            fed.now = value
