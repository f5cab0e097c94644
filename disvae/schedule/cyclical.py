"""w(t) = value min(1, u / ramp), u the part of the current cycle that has passed: Fu et al. 2019."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Cyclical(Schedule):
    """`cycles` times from zero up to `value` over the share `ramp` of a cycle; at `value` once the run is over."""

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
        """Zero at the first step of each cycle, `value` at its end."""
        if step >= self.steps:
            return float(self.value)
        passed = step * self.cycles % self.steps / self.steps  # in whole numbers: a cycle starts at exactly zero
        return self.value * min(1.0, passed / self.ramp)
