"""Successive halving (Jamieson & Talwalkar 2016): all candidates train a little, the best go on to more steps.

A rung is a sweep of the candidates that are left, trained to its number of steps. The runs of the next rung continue
those of this one, so nothing is trained twice.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from disvae.comparison.groups import Estimate
from disvae.config import ConfigError

KEEP = 3
"""The best one in KEEP candidates of a rung goes on, with KEEP times as many steps."""


@dataclass
class Candidate:
    """One combination of settings, its values at each rung that it reached, and the folders of its last runs."""

    overrides: tuple[str, ...]
    values: list[Estimate] = field(default_factory=list)  # one for each rung
    folders: tuple[str, ...] = ()
    reason: str = ""  # why it has no value

    @property
    def name(self) -> str:
        """Return the settings that make it: `beta=4 z_dim=6`."""
        return " ".join(self.overrides)


def rungs(candidates: int, steps: int) -> list[int]:
    """Return the number of steps of each rung: the last has about `steps`, the others KEEP times fewer than the next.

    There are as many rungs as it takes to come from the candidates to one, and each is a multiple of the first, at
    whose multiples all runs are validated.

    Raises:
        ConfigError: the first rung would have no step.
    """
    count = max(1, math.ceil(math.log(candidates) / math.log(KEEP) - 1e-9) + 1)
    first = steps // KEEP ** (count - 1)
    if first < 1:
        raise ConfigError(f"steps must be at least {KEEP ** (count - 1)} for {candidates} candidates, got {steps}")
    return [first * KEEP**i for i in range(count)]


def cost(candidates: int, steps: Sequence[int]) -> int:
    """Return the steps that all rungs train, for each seed: later rungs continue the runs of earlier ones."""
    total, before, n = 0, 0, candidates
    for of_rung in steps:
        total += n * (of_rung - before)
        before, n = of_rung, math.ceil(n / KEEP)
    return total


def longest(candidates: int, most: float, at_most: int) -> int:
    """Return the most steps of a last rung, up to `at_most`, whose whole cost is at most `most` steps of one seed."""
    low, high = 1, at_most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if _affordable(candidates, middle, most) else (low, middle - 1)
    return low


def _affordable(candidates: int, steps: int, most: float) -> bool:
    try:
        return cost(candidates, rungs(candidates, steps)) <= most
    except ConfigError:
        return True  # too few steps to be rungs at all: look higher


def climb(
    candidates: Sequence[Candidate], steps: Sequence[int], train: Callable[[Sequence[Candidate], int], None], sign: int
) -> list[Candidate]:
    """Train the rungs and return all candidates, the best first.

    `train` trains some candidates to a number of steps and adds a value to each, or a reason. `sign` is 1 if higher
    values are better.

    Raises:
        ConfigError: no candidate has a value.
    """
    left = list(candidates)
    for i, of_rung in enumerate(steps):
        train(left, of_rung)
        known = [each for each in left if len(each.values) > i]
        if not known:
            reasons = "; ".join(dict.fromkeys(each.reason for each in left if each.reason))
            raise ConfigError(f"no candidate has a value of the goal: {reasons or 'see the messages above'}")
        known.sort(key=lambda each: -sign * each.values[-1].mean)
        left = known[: math.ceil(len(left) / KEEP)]
    place = {id(each): n for n, each in enumerate(candidates)}
    return sorted(
        candidates,
        key=lambda each: (-len(each.values), -sign * each.values[-1].mean if each.values else 0, place[id(each)]),
    )


_UNITS = {"s": 1, "m": 60, "h": 3600}


def budget_seconds(text: str) -> float:
    """Return a duration such as `40m` or `1.5h` in seconds.

    Raises:
        ConfigError: it is no positive number with a unit.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not found or not float(found[1]) > 0:
        raise ConfigError(f"budget must be a time such as 90s, 40m or 2h, got {text!r}")
    return float(found[1]) * _UNITS[found[2]]
