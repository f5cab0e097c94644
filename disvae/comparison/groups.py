"""Groups of runs that differ only in the seed: the mean of each with Student's confidence interval, and its rank.

Two groups are told apart if the 95 % confidence interval of the difference of their means excludes 0. Their variances
may differ, and it takes at least two seeds of each. For two groups the interval is Welch's (1947). For more groups it
is Games & Howell's (1976), which holds for all pairs at once: the best of many equal groups is told apart from another
in about 5 % of tables, however many groups there are.
"""

import difflib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Any

from scipy.special import stdtrit

from disvae.comparison.row import CHECKSUM, Row
from disvae.config import ConfigError
from disvae.runs.settings import HOW, WEIGHTS, Setting
from disvae.runs.tags import better, of_several_runs, without_labels
from disvae.runs.verdict import collapsed
from disvae.statistics.studentized_range import range_quantile

COMPARED_TERMS = (
    "val/elbo",
    "val/information",
    "val/reconstruction",
    "val/kl",
    "val/overlap/mutual_information",
    "val/structure/total_correlation",
    "val/structure/kl_qz_pz",
)
"""Terms of the loss and of q(z) that are compared beside the scores."""

FAILED = ("failed", "diverged")
"""States of runs that ended without a result."""


@dataclass(frozen=True)
class Estimate:
    """A mean over n seeds with its 95 % confidence interval (n - 1 degrees of freedom).

    One seed has no interval, nor have values that each compare all seeds.
    """

    mean: float
    low: float | None
    high: float | None
    values: tuple[float, ...]

    @property
    def n(self) -> int:
        """Return the number of seeds."""
        return len(self.values)

    @property
    def half(self) -> float | None:
        """Return half the width of the interval; None if there is none."""
        return None if self.high is None else self.high - self.mean

    @cached_property
    def sd(self) -> float:
        """Return the standard deviation over the seeds, of which there must be two."""
        return math.sqrt(math.fsum((value - self.mean) ** 2 for value in self.values) / (self.n - 1))


def estimate(values: Sequence[float], tag: str = "") -> Estimate:
    """Return the mean and the interval of one or more values of a tag."""
    one = Estimate(fmean(values), None, None, tuple(values))
    if one.n == 1 or of_several_runs(tag):
        return one
    half = _quantile(one.n - 1) * one.sd / one.n**0.5
    return Estimate(one.mean, one.mean - half, one.mean + half, one.values)


def told_apart(one: Estimate, other: Estimate, among: int = 2) -> bool | None:
    """Return whether the 95 % interval of the difference of two of `among` groups excludes 0; None without one."""
    if one.half is None or other.half is None:
        return None
    a, b = (e.sd**2 / e.n for e in (one, other))
    difference = abs(one.mean - other.mean)
    if a + b == 0:
        return difference > 0
    df = (a + b) ** 2 / (a**2 / (one.n - 1) + b**2 / (other.n - 1))
    # Rounded down, for with three seeds the interval of 16 groups would else be too narrow.
    width = _quantile(df) if among == 2 else _range_quantile(among, math.floor(df + 1e-9))
    return difference > width * math.sqrt(a + b)


@lru_cache(maxsize=1000)
def _range_quantile(among: int, df: int) -> float:
    """Return the 95 % quantile of the studentised range of `among` means over the square root of 2."""
    return range_quantile(0.95, among, df) / math.sqrt(2)


MOST_SEEDS = 1000
"""Largest number of seeds that is worked out."""


def seeds_to_tell_apart(one: Estimate, other: Estimate) -> int | None:
    """Return how many seeds of each of two groups tell them apart with a power of 80 %, if they differ as these do.

    It is the least n whose Welch interval is exceeded by the difference plus a normal quantile. None without intervals,
    for equal means, or more than MOST_SEEDS.
    """
    if one.half is None or other.half is None or one.mean == other.mean:
        return None
    spread = math.hypot(one.sd, other.sd)
    for n in range(2, MOST_SEEDS + 1):
        if abs(one.mean - other.mean) >= (_quantile(2 * n - 2) + POWER) * spread / math.sqrt(n):
            return n
    return None


POWER = 0.8416212335729143
"""The normal quantile of a power of 80 %."""


@lru_cache(maxsize=1000)
def _quantile(df: float) -> float:
    return float(stdtrit(df, 0.975))  # scipy.stats takes seconds to import


@dataclass(frozen=True)
class Group:
    """Finished runs that differ only in the seed, sorted by it. `name` holds the settings that identify the group."""

    name: str  # objective=beta_tc, beta=4
    settings: Mapping[str, Setting]
    rows: tuple[Row, ...]
    _estimates: dict[str, Estimate | None] = field(default_factory=dict, repr=False, compare=False)

    def estimate(self, tag: str) -> Estimate | None:
        """Return the estimate over the seeds that have the tag; None if no seed has it."""
        if tag not in self._estimates:
            values = [row.metrics[tag] for row in self.rows if _number(row.metrics.get(tag))]
            self._estimates[tag] = estimate(values, tag) if values else None
        return self._estimates[tag]

    def error(self, tag: str) -> float | None:
        """Return half the 95 % interval of a single run's value over images, not seeds; None for more runs than one."""
        if len(self.rows) != 1 or tag not in self.rows[0].errors:
            return None
        return self.rows[0].half(tag)

    @property
    def collapsed(self) -> bool:
        """Return whether no run of the group has an active latent, so that its codes say nothing."""
        return all(collapsed(row.metrics) for row in self.rows)

    @property
    def seeds(self) -> list[Setting]:
        """Return the seeds of the runs, in their order."""
        return [row.settings.get("seed") for row in self.rows]


@dataclass(frozen=True)
class Ranked:
    """A group and its place: 1 is the best, equal means share a place. `told_apart` compares it with the best group."""

    place: int
    group: Group
    estimate: Estimate
    told_apart: bool | None  # None: not known, for example with one seed
    best: bool = False  # in the first place, among several groups and not collapsed


@dataclass(frozen=True)
class Comparison:
    """All runs of one dataset. `axes` holds the settings that vary, except the seed, with their sorted values."""

    dataset: str  # "sprites", or "sprites, dataset.scales=2" if runs use several versions of it
    groups: tuple[Group, ...]
    axes: Mapping[str, tuple[Setting, ...]]
    tags: tuple[str, ...]  # the tags to show: those asked for, or `headline`
    unfinished: tuple[Row, ...] = ()
    failed: tuple[Row, ...] = ()
    repeated: tuple[Row, ...] = ()  # finished runs with the configuration and the seed of another run
    rows: tuple[Row, ...] = field(default=())  # all runs, in any state
    _ranks: dict[str, list[Ranked]] = field(default_factory=dict, repr=False, compare=False)
    _controls: dict[str, dict[str, float]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def finished(self) -> list[Row]:
        """Return all runs of the groups."""
        return [row for group in self.groups for row in group.rows]

    @cached_property
    def headline(self) -> list[str]:
        """Return tags that a finished run has: main scores, those with labels first, then COMPARED_TERMS."""
        return _headline(self.finished)

    @property
    def numeric(self) -> list[str]:
        """Return the axes whose values are numbers."""
        return [name for name, values in self.axes.items() if all(_number(value) for value in values)]

    def rank(self, tag: str) -> list[Ranked]:
        """Return the groups that have the tag, best first; highest first if the tag has no better end.

        Collapsed groups come last where an end is better, because constant codes are perfect by some scores.
        """
        if tag not in self._ranks:
            self._ranks[tag] = self._ranked(tag)
        return self._ranks[tag]

    def _ranked(self, tag: str) -> list[Ranked]:
        sign = better(tag) or 1

        def order(of: tuple[Group, Estimate]) -> tuple[bool, float]:
            return better(tag) != 0 and of[0].collapsed, -sign * of[1].mean

        found = sorted(((group, of) for group in self.groups if (of := group.estimate(tag)) is not None), key=order)
        ranked: list[Ranked] = []
        for i, (group, of) in enumerate(found):
            place = ranked[-1].place if ranked and order(found[i - 1]) == order(found[i]) else i + 1
            apart = told_apart(found[0][1], of, len(found)) if place > 1 else False
            best = place == 1 and len(found) > 1 and better(tag) != 0 and not group.collapsed
            ranked.append(Ranked(place, group, of, apart, best))
        return ranked

    def front(self, x: str, y: str) -> list[Group]:
        """Return the Pareto front of two tags, sorted along x: no other group is as good in both and better in one.

        Raises:
            ValueError: a tag has no better end.
        """
        signs = better(x), better(y)
        if 0 in signs:
            raise ValueError(f"a front needs tags with a better end, got {x} and {y}")
        points = {}
        for i, group in enumerate(self.groups):
            of_x, of_y = group.estimate(x), group.estimate(y)
            if of_x is not None and of_y is not None:
                points[i] = (signs[0] * of_x.mean, signs[1] * of_y.mean)
        kept = [
            i
            for i, (a, b) in points.items()
            if not any(c >= a and d >= b and (c, d) != (a, b) for c, d in points.values())
        ]
        return [self.groups[i] for i in sorted(kept, key=lambda i: signs[0] * points[i][0])]

    def controls(self, tag: str) -> dict[str, float]:
        """Return the mean score of each baseline, and of chance, over the finished runs that have it."""
        if tag not in self._controls:
            self._controls[tag] = self._mean_controls(tag)
        return self._controls[tag]

    def _mean_controls(self, tag: str) -> dict[str, float]:
        found: dict[str, list[float]] = {}
        for row in self.finished:
            for source, value in row.controls.get(tag, {}).items():
                if _number(value):
                    found.setdefault(source, []).append(value)
        return {source: fmean(values) for source, values in found.items()}


def compare(
    rows: Iterable[Row],
    where: Mapping[str, Sequence[Setting]] | None = None,
    tags: Sequence[str] = (),
    by: Sequence[str] = (),
) -> list[Comparison]:
    """Return a comparison for each dataset, with runs grouped by all settings except the seed.

    `where` keeps the runs whose settings have one of the values; a job without a configuration has only the settings
    that were typed. `tags` are the tags to show, `by` the axes that come first.

    Raises:
        ConfigError: no run has such a setting, value or axis.
    """
    rows, where = list(rows), where or {}
    for name in [*where, *by]:
        _check(name, rows)
    for name, wanted in where.items():
        has = {row.settings[name] for row in rows if name in row.settings}
        for value in wanted:
            if value not in has:
                there = ", ".join(shown(other) for other in sorted(has, key=_order))
                raise ConfigError(f"no run has {name}={shown(value)}; they have {there}")
    kept = [row for row in rows if all(_matches(row, name, wanted) for name, wanted in where.items())]
    comparisons = [_of_dataset(name, found, tags, by) for name, found in _by_dataset(kept).items()]
    vary = dict.fromkeys(axis for comparison in comparisons for axis in comparison.axes)
    for name in by:
        if name not in vary:
            raise ConfigError(
                f"by={name} does not vary among the finished runs; what varies: {', '.join(vary) or 'nothing'}"
            )
    return comparisons


def _check(name: str, rows: Sequence[Row]) -> None:
    known = list(dict.fromkeys(name for row in rows for name in row.settings))
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"they have {', '.join(known)}"
        raise ConfigError(f"{name} is no setting of these runs; {hint}")


def _matches(row: Row, name: str, wanted: Sequence[Setting]) -> bool:
    return row.settings[name] in wanted if name in row.settings else row.typed


def _by_dataset(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Return the rows by dataset, named with those of its settings that differ among the runs.

    The checksum of the images is named only where no other setting tells two datasets apart. A job whose dataset is not
    known belongs to the only dataset if there is just one; a run that ended before it read its images belongs to the
    first dataset with its settings.
    """
    settings: dict[str, list[dict[str, Setting]]] = {}
    for row in sorted(rows, key=_unknown_images):
        if not row.typed and "dataset" in row.settings:
            of, mine = settings.setdefault(str(row.settings["dataset"]), []), _dataset_settings(row)
            if mine not in of and not (_unknown_images(row) and any(each.items() >= mine.items() for each in of)):
                of.append(mine)
    found: dict[str, list[Row]] = {}
    for row in rows:
        name = str(row.settings.get("dataset", next(iter(settings)) if len(settings) == 1 else "unknown dataset"))
        mine, all_of_name = _dataset_settings(row), settings.get(name, [])
        if _unknown_images(row) and all_of_name:
            mine = next((of for of in all_of_name if of.items() >= mine.items()), all_of_name[0])
        differ = [key for key in mine if any(of.get(key, ...) != mine[key] for of in all_of_name)]
        if not any(of != mine and {**of, CHECKSUM: None} == {**mine, CHECKSUM: None} for of in all_of_name):
            differ = [key for key in differ if key != CHECKSUM]
        found.setdefault(", ".join([name, *(f"{key}={shown(mine[key])}" for key in differ)]), []).append(row)
    return found


def _unknown_images(row: Row) -> bool:
    return row.typed or (row.state != "finished" and CHECKSUM not in row.settings)


def _dataset_settings(row: Row) -> dict[str, Setting]:
    return {key: value for key, value in row.settings.items() if key.startswith("dataset.")}


def _of_dataset(dataset: str, rows: Sequence[Row], tags: Sequence[str], by: Sequence[str]) -> Comparison:
    finished = [row for row in rows if row.state == "finished"]
    axes = _axes(finished, by)
    grouped: dict[str, list[Row]] = {}
    repeated = []
    for row in finished:
        same = grouped.setdefault(_key(row), [])
        if any(row.settings.get("seed") == other.settings.get("seed") for other in same):
            repeated.append(row)
        else:
            same.append(row)
    groups = []
    for of_group in grouped.values():
        settings = {name: value for name, value in of_group[0].settings.items() if name != "seed"}
        name = ", ".join(f"{axis}={shown(settings[axis])}" for axis in axes if axis in settings)
        ordered = sorted(of_group, key=lambda row: _order(row.settings.get("seed")))
        groups.append(Group(name or dataset, settings, tuple(ordered)))
    groups.sort(
        key=lambda group: [_order(group.settings[axis]) if axis in group.settings else (3, 0, "") for axis in axes]
    )
    return Comparison(
        dataset=dataset,
        groups=tuple(groups),
        axes=axes,
        tags=tuple(tags) or tuple(_headline(finished)),
        unfinished=tuple(row for row in rows if row.state not in ("finished", *FAILED)),
        failed=tuple(row for row in rows if row.state in FAILED),
        repeated=tuple(repeated),
        rows=tuple(rows),
    )


def _headline(rows: Sequence[Row]) -> list[str]:
    found = dict.fromkeys(tag for row in rows for tag in row.metrics)
    scores = [tag for tag in found if tag.startswith("metric") and tag.count("/") == 2 and "-runs/" not in tag]
    scores.sort(key=without_labels)
    return scores + [tag for tag in COMPARED_TERMS if tag in found]


def _axes(rows: Sequence[Row], by: Sequence[str]) -> dict[str, tuple[Setting, ...]]:
    """Return the settings that vary: first those in `by`, then the objective, its weights, others, and HOW last."""
    found: dict[str, set[Setting]] = {}
    for row in rows:
        for name, value in row.settings.items():
            found.setdefault(name, set()).add(value)
    vary = [name for name, values in found.items() if len(values) > 1 and name != "seed"]
    alike: dict[str, list[Row]] = {}  # apart from settings that only some runs have, such as init_from
    for row in rows:
        alike.setdefault(repr([row.settings.get(name) for name in vary]), []).append(row)
    for same in alike.values():
        everywhere = set(same[0].settings).intersection(*(row.settings for row in same))
        vary += [name for row in same for name in row.settings if name not in everywhere and name not in vary]
    first = [*by, "objective", *WEIGHTS]
    vary.sort(key=lambda name: first.index(name) if name in first else len(first) + name.startswith(HOW))
    return {name: tuple(sorted(found[name], key=_order)) for name in vary}


def _key(row: Row) -> str:
    return repr(sorted((name, value) for name, value in row.settings.items() if name != "seed"))


def _order(value: Setting) -> tuple[int, float, str]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def shown(value: Setting) -> str:
    """Return a setting's value as it is typed: 4 for 4.0."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
