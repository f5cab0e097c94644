"""w(t) = value."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """The full weight from the first step on."""

    value: float

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError(f"value must be non-negative and finite, got {self.value}")

    def __call__(self, step: int) -> float:
        """`value` at every step."""
        return float(self.value)
