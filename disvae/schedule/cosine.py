"""w(t) = start + (value - start) (1 - cos(pi u)) / 2 with u = min(1, t / (until steps))."""

import math
from dataclasses import dataclass

from disvae.schedule import Schedule, check_warm_up


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """A smooth way from `start` to `value` over the share `until` of the run, then `value`; no kink at either end."""

    value: float
    start: float = 0.0
    until: float
    steps: int

    def __post_init__(self) -> None:
        check_warm_up(self.value, self.start, self.until, self.steps)

    def __call__(self, step: int) -> float:
        """Return the weight: `start` at step 0, `value` from step `until` * `steps` on."""
        progress = min(1.0, step / (self.until * self.steps))
        return self.start + (self.value - self.start) * (1 - math.cos(math.pi * progress)) / 2
