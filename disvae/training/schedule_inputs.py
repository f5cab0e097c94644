"""Schedules as tensors, for steps that run no Python of their own: captured graphs and packed runs.

An objective asks its schedules for the weight of a step. In a captured graph, and in a step that several runs share,
the answer has to be a tensor that is filled before the step.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from disvae.schedule import Schedule


class TracedStep:
    """Stand for `Draw.step` where it is not a number: schedules take it, and anything else that reads it fails."""

    def _refuse(self, *_: object) -> NoReturn:
        raise TypeError("an objective may read draw.step through its schedules alone")

    __int__ = __index__ = __float__ = __bool__ = __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __mod__ = _refuse


class ScheduleInput(Schedule):
    """Stand for a schedule of an objective: a traced step gets the tensor () that was fed last, a number its value."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.now = torch.zeros(())

    def __call__(self, step: Any) -> Any:
        """Return the weight, as a tensor () for a traced step."""
        return self.now if isinstance(step, TracedStep) else self.schedule(step)

    @property
    def is_zero(self) -> bool:
        """Return whether the weight is zero at every step."""
        return self.schedule.is_zero


class ScheduleInputs:
    """The schedules of an objective and its parts in a fixed order, which are replaced by inputs from here on."""

    def __init__(self, objective: nn.Module) -> None:
        self.inputs: list[ScheduleInput] = []
        for part in objective.modules():
            for name, value in sorted(vars(part).items()):
                if isinstance(value, Schedule):
                    value = value if isinstance(value, ScheduleInput) else ScheduleInput(value)
                    setattr(part, name, value)
                    self.inputs.append(value)

    def at(self, steps: Sequence[int]) -> Tensor:
        """Return the weights (len(steps), schedules) at each of `steps`, on the CPU."""
        weights = [[each.schedule(step) for each in self.inputs] for step in steps]
        return torch.tensor(weights, dtype=torch.float32).view(len(steps), len(self.inputs))

    def feed(self, now: Tensor) -> None:
        """Give `now` (schedules,) to the objective, without a copy."""
        for each, value in zip(self.inputs, now, strict=True):
            each.now = value
