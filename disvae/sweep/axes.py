"""Axes of a sweep: expand ranges to lists of values, and combine axes as a grid or value by value (zip)."""

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence

from disvae.config import ConfigError

MOST_JOBS = 100_000
"""The largest number of jobs of a sweep; to compose as many takes hours."""

RANGES: dict[str, Callable[[float, float, float], float]] = {
    "linspace": lambda start, stop, share: start + share * (stop - start),
    "logspace": lambda start, stop, share: 10 ** (start + share * (stop - start)),
    "geomspace": lambda start, stop, share: start * (stop / start) ** share,
}
"""The spacings of a range, with NumPy's names and conventions: logspace(0,2,3) is 1, 10, 100."""


def expand(argument: str) -> str:
    """Return an override with its ranges written out to six digits: `beta=logspace(0,2,3)` becomes `beta=1,10,100`.

    Lists and range(0,10) are left to Hydra.

    Raises:
        ConfigError: the range does not have two ends and a whole number of at least two values.
    """
    key, equals, value = argument.partition("=")
    pattern = rf"\b({'|'.join(RANGES)})\(([^()]*)\)"
    return key + equals + re.sub(pattern, lambda found: _values(argument, *found.groups()), value)


def _values(argument: str, name: str, inner: str) -> str:
    try:
        start, stop, n = (float(number) for number in inner.split(","))
        if n < 2 or n != int(n) or (name == "geomspace" and not start * stop > 0):
            raise ValueError
        check_number(argument, n)
        return ",".join(f"{RANGES[name](start, stop, i / (n - 1)):.6g}" for i in range(int(n)))
    except ConfigError:
        raise
    except (ValueError, OverflowError) as error:
        raise ConfigError(
            f"{argument}: {name} takes two ends{' of one sign' if name == 'geomspace' else ''} and the number of "
            f"values (at least 2), as in beta=logspace(0,2,9); got {name}({inner})"
        ) from error


def check_number(what: str, jobs: float) -> None:
    """Raise ConfigError if a sweep, or the axis that was typed as `what`, makes no jobs or too many of them."""
    if not 1 <= jobs <= MOST_JOBS:
        raise ConfigError(f"{what} must make 1 to {MOST_JOBS:,} jobs, got {'more' if jobs >= 1 else 'none'}")


def combinations(axes: Mapping[str, Sequence[str]], zipped: Sequence[str]) -> list[list[str]]:
    """Return the jobs: one override of each axis (name -> overrides), the last axis changing fastest.

    The axes named in `zipped` change together, as one axis.

    Raises:
        ConfigError: `zipped` names a single axis, something that is no axis, or axes of different lengths; or there are
            too many jobs.
    """
    lengths = {name: len(axes.get(name, ())) for name in zipped}
    if zipped and (len(lengths) < 2 or min(lengths.values()) < 2 or len(set(lengths.values())) > 1):
        said = ", ".join(f"{name} has {n} value{'' if n == 1 else 's'}" for name, n in lengths.items())
        raise ConfigError(
            f"zip=[{','.join(zipped)}] must name two or more axes of the same length, as in beta=1,4 alpha=0,10 "
            f"zip=[beta,alpha]; {said}"
        )
    together = list(zip(*(axes[name] for name in lengths), strict=True))
    places: list[Sequence[tuple[str, ...]]] = []
    for name, values in axes.items():
        if name not in lengths:
            places.append([(value,) for value in values])
        elif name == next(name for name in axes if name in lengths):
            places.append(together)
    check_number("the sweep", math.prod(map(len, places)))
    return [list(itertools.chain(*job)) for job in itertools.product(*places)]


def varied(jobs: Sequence[Sequence[str]]) -> list[str]:
    """Return the names of the settings that differ among jobs (lists of overrides), the dataset's excepted.

    The folder above a run's names its dataset.
    """
    found: dict[str, set[str]] = {}
    for override in itertools.chain.from_iterable(jobs):
        key, _, value = override.lstrip("+~").partition("=")
        found.setdefault(key.rpartition("@")[2], set()).add(value)
    return [name for name, values in found.items() if len(values) > 1 and name != "dataset"]


def zipped(value: object) -> list[str]:
    """Return the names of the axes in zip=[...].

    Raises:
        ConfigError: zip is not a list of names.
    """
    names = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise ConfigError(f"zip must be a list of axes, as in zip=[beta,alpha], got {value!r}")
    return [str(name) for name in names]
