"""w(t) = value at every step t."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """A schedule with the full weight from the first step on."""

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"value must be non-negative and finite, got {self.value}")

    def __call__(self, step: int) -> float:
        """Return `value`, whatever the step."""
        return float(self.value)
