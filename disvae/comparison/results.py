"""What runs came to, read from their folders: knobs, terms, scores, controls, and what failed. Imports no torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from disvae.config import ConfigError
from disvae.knobs import Knob, flat
from disvae.runs import Run
from disvae.sweep.record import FOLDER, Sweep


@dataclass(frozen=True)
class Row:
    """One run, or a job of a sweep that has none.

    `metrics` holds the values of metrics.json by tag and `errors` their standard errors; `controls` what the negative
    controls and `chance` score, by tag and source; `intervals` the ends of the scores' own 95 % intervals, from the
    images of this run; `peers` the folders' names of the runs that metrics of several runs compared.
    """

    name: str
    path: Path | None
    state: str  # finished, running, interrupted, killed, diverged, failed, new
    step: int = 0
    error: str = ""
    knobs: dict[str, Knob] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    controls: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    peers: frozenset[str] = frozenset()

    def half(self, tag: str) -> float | None:
        """Half the 95 % interval of a value, of its images alone; None where it has none."""
        if tag in self.intervals:
            low, high = self.intervals[tag]
            return (high - low) / 2
        return 1.96 * self.errors[tag] if tag in self.errors else None


def collect(paths: Iterable[Path]) -> list[Row]:
    """A row for each run below `paths`: run folders, folders of runs, sweeps' records; each run once.

    Raises:
        ConfigError: a path that does not exist, or nothing is found.
    """
    rows: dict[Path | str, Row] = {}
    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; name runs' folders, a folder of runs, or a sweeps/*.json")
        for key, row in _below(path):
            rows.setdefault(key, row)
    if not rows:
        raise ConfigError(f"no runs in {', '.join(map(str, paths))}")
    return list(rows.values())


def _below(path: Path) -> Iterator[tuple[Path | str, Row]]:
    if path.is_file():
        yield from _of_sweep(Sweep.read(path))
        return
    for status in sorted(path.rglob("status.json")):
        yield status.parent.resolve(), of_run(Run(status.parent))
    for record in sorted(path.rglob(f"{FOLDER}/*.json")):
        yield from _of_sweep(Sweep.read(record))


def _of_sweep(sweep: Sweep) -> Iterator[tuple[Path | str, Row]]:
    for job in sweep.jobs:
        run = sweep.run(job)
        if run is None:
            yield job.name, Row(job.name, None, "failed", error=job.error or "")
        elif run.status()["state"] == "new":
            yield run.path.resolve(), Row(job.name, run.path, "failed" if job.error else "new", error=job.error or "")
        else:
            yield run.path.resolve(), of_run(run)


def of_run(run: Run) -> Row:
    """What is in a run's folder; one that cannot be read is a failed run and says why."""
    try:
        status = run.status()
        values = run.metrics()
        return Row(
            name=run.path.name,
            path=run.path,
            state=run.state(),
            step=status["step"],
            error=status.get("error", ""),
            knobs=flat(run.config()) if (run.path / "config.yaml").exists() else {},
            metrics={tag: value for tag, value in values.items() if not tag.endswith("_se")},
            errors={tag.removesuffix("_se"): value for tag, value in values.items() if tag.endswith("_se")},
            controls=_controls(run),
        )
    except ConfigError as error:
        return Row(run.path.name, run.path, "failed", error=str(error))


def _controls(run: Run) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for stage, entries in run.scores().items():
        for label, entry in entries.items():
            for name, sources in entry["scores"].items():
                others = {source: score["value"] for source, score in sources.items() if source != "model"}
                if name in entry["chance"]:
                    others["chance"] = entry["chance"][name]
                if others:
                    found[f"{stage}/{label}/{name}"] = others
    return found
