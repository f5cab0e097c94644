"""w(t) = start + (value - start) (1 - cos(pi u)) / 2 with u = min(1, t / (until steps))."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """From `start` to `value` without a kink at either end over the share `until` of the run, then `value`."""

    value: float
    start: float = 0.0
    until: float
    steps: int

    def __post_init__(self) -> None:
        for name in ("value", "start"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be non-negative and finite, got {getattr(self, name)}")
        if not 0 < self.until <= 1:
            raise ValueError(f"until must be a share of the run in (0, 1], got {self.until}")
        if self.steps < 1:
            raise ValueError(f"steps must be positive, got {self.steps}")

    def __call__(self, step: int) -> float:
        """`start` at step 0, `value` from step `until` * `steps` on."""
        progress = min(1.0, step / (self.until * self.steps))
        return self.start + (self.value - self.start) * (1 - math.cos(math.pi * progress)) / 2
