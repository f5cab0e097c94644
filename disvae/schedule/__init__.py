"""Schedule: a pure function of the optimiser step, so that resuming a run needs no state."""

import math
from abc import ABC, abstractmethod


class Schedule(ABC):
    """step -> weight. Leaves take the full `value`; those that move also the run's `steps`."""

    value: float

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The weight at `step` (0 at the first optimiser step); non-negative and finite.

        To an objective in training it is a scalar tensor (): the steps of a captured graph or of packed runs differ in
        nothing but what such tensors hold. So weigh with it, and branch on `is_zero` alone.
        """

    @property
    def is_zero(self) -> bool:
        """Zero at every step: what it weighs need not be computed."""
        return self.value == 0 and getattr(self, "start", 0.0) == 0


def check_warm_up(value: float, start: float, until: float, steps: int) -> None:
    """What a schedule that moves from `start` to `value` within a share `until` of `steps` steps may be given.

    Raises:
        ValueError: a negative or infinite weight, a share outside (0, 1], no steps.
    """
    for name, weight in (("value", value), ("start", start)):
        if not 0 <= weight < math.inf:
            raise ValueError(f"{name} must be non-negative and finite, got {weight}")
    if not 0 < until <= 1:
        raise ValueError(f"until must be a share of the run in (0, 1], got {until}")
    if steps < 1:
        raise ValueError(f"steps must be positive, got {steps}")
