"""Schedules are pure functions of the optimiser step, so that resuming a run needs no state."""

import math
from abc import ABC, abstractmethod
from itertools import pairwise


class Schedule(ABC):
    """A map from step to weight; subclasses take the full `value`, and those that change also the run's `steps`."""

    value: float

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the weight at `step` (0 at the first optimiser step), non-negative and finite.

        In training, an objective gets it as a scalar tensor (): the steps of a captured graph or of packed runs differ
        only in the values of such tensors. So multiply by it, and branch on `is_zero` alone.
        """

    @property
    def is_zero(self) -> bool:
        """Return whether the weight is zero at every step, so that what it weighs need not be computed."""
        return self.value == 0 and getattr(self, "start", 0.0) == 0


def settled(schedule: Schedule, steps: int) -> int:
    """Return the step from which a schedule keeps its last value in a run of `steps` steps, to 0.5 % of the run."""
    places = [steps * i // 200 for i in range(201)]
    return next((after for at, after in reversed([*pairwise(places)]) if schedule(at) != schedule(steps)), 0)


def check_warm_up(value: float, start: float, until: float, steps: int) -> None:
    """Raise ValueError unless a schedule can go from `start` to `value` within the share `until` of `steps` steps.

    Weights must be non-negative and finite, the share in (0, 1] and the steps positive.
    """
    for name, weight in (("value", value), ("start", start)):
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name} must be non-negative and finite, got {weight}")
    if not 0 < until <= 1:
        raise ValueError(f"until must be a share of the run in (0, 1], got {until}")
    if steps < 1:
        raise ValueError(f"steps must be positive, got {steps}")
