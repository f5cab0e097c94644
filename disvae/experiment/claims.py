"""Claims of a paper about the runs of a sweep: how each is measured, the band that it must fall into, and the verdict.

A claim is data, a node in the YAML of an experiment:

    claims:
      more_information:
        says: at equal beta, the TCVAE keeps more information
        of: val/overlap/mutual_information    # a tag of metrics.json, a curve, or a name that the experiment measures
        where: {objective: beta_tc}           # the runs that are asked
        against: {objective: beta_vae}        # the runs that they are compared with, seed by seed
        each: beta                            # one claim for each value of this setting
        band: [0, null]                       # null: no end
        published: higher at every beta
        source: figure
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np

from disvae.comparison.groups import Estimate, estimate, shown
from disvae.config import ConfigError
from disvae.runs.settings import Setting
from disvae.runs.tables import Cell, Head, Table

SOURCES = {
    "code": "read in released code",
    "computed": "computed, not published",
    "figure": "read off a figure",
    "log": "log of a public run",
    "memory": "recalled, not read in the paper",
    "none": "",
    "second_hand": "quoted by others",
    "table": "a table",
}
"""Where a published number comes from, in words."""

FEWEST = 5
"""Fewest seeds of which some may be exceptions."""

INSIDE, OUTSIDE, UNDECIDED, REPORTED = "inside", "outside", "not decidable with these seeds", "reported"
"""The verdicts: inside the band, outside of it, an interval that contains its edge, and a number without a band."""


CLAIM_HEADS = ("claim", "published", "ours", "band", "verdict")


@dataclass(frozen=True)
class Curves:
    """The values of one run: its settings, its numbers by name, and its curves by tag as steps and values."""

    settings: Mapping[str, Setting]
    numbers: Mapping[str, float]
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)

    def read(self, name: str, steps: Sequence[int] | None) -> float | None:
        """Return a number, or the mean of a curve over `steps` (first, last); None if the run has neither."""
        if steps is None:
            return self.numbers.get(name)
        at, values = self.curves.get(name, (np.zeros(0), np.zeros(0)))
        chosen = values[(at >= steps[0]) & (at <= steps[1])]
        return float(chosen.mean()) if len(chosen) else None


@dataclass(frozen=True)
class Claim:
    """One claim; the docstring of this file shows the form.

    `of` names a value, or several whose mean is taken; with `steps` it is a curve's mean between two steps. `along` is
    a setting or another value: the number is then the rank correlation (Spearman) with it over all runs of a seed. `by`
    says how `against` compares: difference or ratio. The band holds for the mean over seeds, or with `per: run` for
    every run, but `exceptions` of five or more. `exact` values need no runs. Without a band a number is only reported.
    """

    says: str
    of: str | Sequence[str]
    source: str
    published: str | float = ""
    band: Sequence[float | None] | None = None
    where: Mapping[str, Any] = field(default_factory=dict)
    against: Mapping[str, Any] | None = None
    by: str = "difference"
    along: str | None = None
    each: str | None = None
    steps: Sequence[int] | None = None
    per: str = "mean"
    exceptions: int = 0
    exact: bool = False

    def __post_init__(self) -> None:
        choices = {"source": tuple(SOURCES), "by": ("difference", "ratio"), "per": ("mean", "run")}
        for key, allowed in choices.items():
            if getattr(self, key) not in allowed:
                raise ValueError(f"{key} must be one of {', '.join(allowed)}, got {getattr(self, key)!r}")
        for key in ("band", "steps"):
            ends = getattr(self, key)
            if ends is not None and not (len(ends) == 2 and (None in ends or ends[0] <= ends[1])):
                raise ValueError(f"{key} must be two numbers in order, got {ends!r}")

    @property
    def citation(self) -> str:
        """Return the published value and where it was read."""
        how = SOURCES[self.source]
        return f"{self.published} ({how})" if how else str(self.published)

    @property
    def ends(self) -> tuple[float, float] | None:
        """Return the ends of the band, infinite where it is open; None without a band."""
        if self.band is None:
            return None
        low, high = self.band
        return -math.inf if low is None else low, math.inf if high is None else high


@dataclass(frozen=True)
class Finding:
    """A claim and what the runs say of it: a value for each seed, their mean with its interval, and the verdict."""

    claim: Claim
    values: tuple[float, ...]
    missing: int  # seeds whose runs do not have the value
    mixed: str = ""  # settings in which several runs of one seed differ, so that none of them is judged

    @property
    def estimate(self) -> Estimate | None:
        """Return the mean over the seeds and its 95 % interval; None without a value."""
        return estimate(self.values) if self.values else None

    @property
    def verdict(self) -> str:
        """Return the verdict; a mean over one seed decides nothing, for it has no interval."""
        of, ends = self.estimate, self.claim.ends
        if ends is None and of is not None:
            return REPORTED
        if of is None or ends is None or self.missing:
            return UNDECIDED
        low, high = ends
        if self.claim.per == "run":
            allowed = self.claim.exceptions if len(self.values) >= FEWEST else 0
            return INSIDE if sum(not low <= v <= high for v in self.values) <= allowed else OUTSIDE
        if of.low is None or of.high is None:
            return UNDECIDED
        if low <= of.low and of.high <= high:
            return INSIDE
        return OUTSIDE if of.high < low or of.low > high else UNDECIDED

    @property
    def ours(self) -> str:
        """Return the value in words: mean and half the interval, or the values of runs that are judged one by one."""
        of = self.estimate
        if self.mixed:
            return f"several runs of a seed, which differ in {self.mixed}: name one in where, or type one"
        if of is None:
            return "no run has it"
        lack = f", {self.missing} missing" if self.missing else ""
        if of.half is None:
            return f"{of.mean:.3g}{lack}"
        if self.claim.per == "run":
            return f"{' '.join(f'{value:.3g}' for value in self.values)}{lack}"
        return f"{of.mean:.3g} ±{of.half:.2g}, n = {of.n}{lack}"


def claims(node: Mapping[str, Any]) -> dict[str, Claim]:
    """Return the claims in a configuration by name.

    Raises:
        ConfigError: a claim lacks a key or has an unknown one.
    """
    known = {each.name for each in fields(Claim)}
    found = {}
    for name, of in node.items():
        unknown = sorted(of.keys() - known)
        if unknown:
            raise ConfigError(
                f"claim {name}: {', '.join(unknown)} is no key of a claim; there are {', '.join(sorted(known))}"
            )
        try:
            found[str(name)] = Claim(**of)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"claim {name}: {error}") from error
    return found


def judge(wanted: Mapping[str, Claim], runs: Sequence[Curves], exact: Mapping[str, float]) -> dict[str, Finding]:
    """Return a finding for each claim; one with `each` gives one for each value of that setting."""
    found = {}
    for name, claim in wanted.items():
        for label, one in _expanded(name, claim, runs):
            mixed = "" if one.exact else _mixed(one, runs)
            if mixed:
                found[label] = Finding(one, (), 0, mixed)
                continue
            known = _mean(exact.get(of) for of in _names(one))
            values = [known] if one.exact else list(_by_seed(one, runs).values())
            there = tuple(value for value in values if value is not None)
            found[label] = Finding(one, there, len(values) - len(there))
    return found


def _expanded(name: str, claim: Claim, runs: Iterable[Curves]) -> Iterable[tuple[str, Claim]]:
    if claim.each is None:
        return [(name, claim)]
    there = {run.settings.get(claim.each) for run in runs if _matches(run, claim.where)}
    others_have = any(claim.each in run.settings for run in runs if _matches(run, claim.against or {}))
    ordered = sorted(there, key=lambda value: (0.0, value) if isinstance(value, str) else (float(value or 0), ""))
    return [
        (
            f"{name} {claim.each}={shown(value)}",
            replace(
                claim,
                says=f"{claim.says} ({claim.each} = {shown(value)})",
                where={**claim.where, claim.each: value},
                against={claim.each: value, **claim.against} if claim.against and others_have else claim.against,
                each=None,
            ),
        )
        for value in ordered
    ]


def _by_seed(claim: Claim, runs: Sequence[Curves]) -> dict[Setting, float | None]:
    """Return the value of a claim for each seed of the runs that it is about; None where a run lacks it."""
    asked = _seeds(run for run in runs if _matches(run, claim.where))
    if claim.along is not None:
        return {seed: _correlation(of, claim) for seed, of in asked.items()}
    mine = {seed: _value(of[0], claim) for seed, of in asked.items()}
    if claim.against is None:
        return mine
    others = _seeds(run for run in runs if _matches(run, claim.against))
    theirs = {seed: _value(others[seed][0], claim) if seed in others else None for seed in mine}
    return {seed: _compared(value, theirs[seed], claim.by) for seed, value in mine.items()}


def _mixed(claim: Claim, runs: Sequence[Curves]) -> str:
    """Return the settings in which the runs of one seed differ that a claim is about; empty where there is only one.

    The mean of two would be about neither.
    """
    for where in () if claim.along else (claim.where, claim.against):
        of_seeds = [] if where is None else _seeds(run for run in runs if _matches(run, where)).values()
        for first, second in (of[:2] for of in of_seeds if len(of) > 1):
            a, b = first.settings, second.settings
            return ", ".join(name for name in {**a, **b} if a.get(name) != b.get(name))
    return ""


def _compared(one: float | None, other: float | None, by: str) -> float | None:
    if one is None or other is None or (by == "ratio" and other == 0):
        return None
    return one / other if by == "ratio" else one - other


def _seeds(runs: Iterable[Curves]) -> dict[Setting, list[Curves]]:
    found: dict[Setting, list[Curves]] = {}
    for run in runs:
        found.setdefault(run.settings.get("seed"), []).append(run)
    return found


def _value(run: Curves, claim: Claim) -> float | None:
    """Return the mean of the values of a run that a claim names."""
    return _mean(run.read(name, claim.steps) for name in _names(claim))


def _correlation(runs: Sequence[Curves], claim: Claim) -> float | None:
    assert claim.along is not None
    points = [(run.settings.get(claim.along, run.numbers.get(claim.along)), _value(run, claim)) for run in runs]
    if len(points) < 3 or any(x is None or y is None for x, y in points):
        return None
    x, y = np.array(points, dtype=float).T
    return rank_correlation(x, y)


def rank_correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Return Spearman's correlation of x (n,) and y (n,); equal values have their mean rank, constants have none."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    a, b = ([(np.sum(v < each) + np.sum(v <= each)) / 2 for each in v] for v in (x, y))
    return float(np.corrcoef(np.array([a, b]))[0, 1])


def _names(claim: Claim) -> tuple[str, ...]:
    return (claim.of,) if isinstance(claim.of, str) else tuple(claim.of)


def _mean(values: Iterable[float | None]) -> float | None:
    there = list(values)
    known = [value for value in there if value is not None and math.isfinite(value)]
    return sum(known) / len(known) if known and len(known) == len(there) else None


def _matches(run: Curves, where: Mapping[str, Any]) -> bool:
    """Return whether the settings of a run have the given values; a list allows each of its values."""
    wanted = {name: value if isinstance(value, (list, tuple)) else [value] for name, value in where.items()}
    return all(run.settings.get(name) in values for name, values in wanted.items())


def record(finding: Finding) -> dict[str, Any]:
    """Return a finding as it is stored: the claim's keys, the value of each seed, and the verdict."""
    return {
        **asdict(finding.claim),
        "values": list(finding.values),
        "missing": finding.missing,
        "ours": finding.ours,
        "verdict": finding.verdict,
    }


def findings_table(findings: Mapping[str, Finding]) -> Table:
    """Return the findings as a table: claim, published value and its source, ours with its interval, band, verdict."""
    rows = []
    for finding in findings.values():
        claim = finding.claim
        low, high = claim.band or (None, None)
        band = "" if low is None and high is None else f"≥ {low:.4g}" if high is None else f"≤ {high:.4g}"
        band = f"{low:.4g} to {high:.4g}" if None not in (low, high) else band
        texts = (claim.says, claim.citation, finding.ours, band, finding.verdict)
        kinds = ("reason", "reason", "reason", "text", "text")  # a reason is broken into lines
        rows.append([Cell(text, kind=kind) for text, kind in zip(texts, kinds, strict=True)])
    return Table([Head(text, is_text=True) for text in CLAIM_HEADS], rows)
