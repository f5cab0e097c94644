"""w(t) = value min(1, u / ramp), u the part of the current cycle that has passed: Fu et al. 2019."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Cyclical(Schedule):
    """A schedule that rises `cycles` times from zero to `value`, over the share `ramp` of each cycle.

    Once the run is over it stays at `value`.
    """

    value: float
    cycles: int
    ramp: float
    steps: int

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"value must be non-negative and finite, got {self.value}")
        if self.cycles < 1:
            raise ValueError(f"cycles must be at least 1, got {self.cycles}")
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp must be a share of the cycle in (0, 1], got {self.ramp}")
        if self.steps < self.cycles:
            raise ValueError(f"steps must be at least the {self.cycles} cycles, got {self.steps}")

    def __call__(self, step: int) -> float:
        """Return the weight: zero at the first step of each cycle, `value` at its end."""
        if step >= self.steps:
            return float(self.value)
        passed = step * self.cycles % self.steps / self.steps  # integer arithmetic: a cycle starts at exactly zero
        return self.value * min(1.0, passed / self.ramp)
