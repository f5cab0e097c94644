"""Schedule: a pure function of the optimiser step, so that resuming a run needs no state."""

from abc import ABC, abstractmethod


class Schedule(ABC):
    """step -> weight. Leaves take the full `value`; those that move also the run's `steps`."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The weight at `step` (0 at the first optimiser step); non-negative and finite."""
