"""w(t) = start + (value - start) min(1, t / (until steps)): Burgess et al. 2018 raise C like this."""

from dataclasses import dataclass

from disvae.schedule import Schedule, check_warm_up


@dataclass(frozen=True, kw_only=True)
class Linear(Schedule):
    """A straight line from `start` to `value` over the share `until` of the run, then `value`."""

    value: float
    start: float = 0.0
    until: float
    steps: int

    def __post_init__(self) -> None:
        check_warm_up(self.value, self.start, self.until, self.steps)

    def __call__(self, step: int) -> float:
        """Return the weight: `start` at step 0, `value` from step `until` * `steps` on."""
        progress = min(1.0, step / (self.until * self.steps))
        return self.start + (self.value - self.start) * progress
