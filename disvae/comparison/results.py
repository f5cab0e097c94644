"""Results of runs, read from their folders: settings, terms, scores, baselines and failures. Imports no torch."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.runs.settings import Setting, flat_settings
from disvae.runs.tables import needed_images
from disvae.sweep.record import FOLDER, Sweep, SweepJob
from disvae.system.plugins import plugins_of

CHECKSUM = "dataset.checksum"
"""The setting of a row that tells runs of different images apart, whatever their paths and settings are."""


@dataclass(frozen=True)
class Row:
    """One run, or a job of a sweep that has no run yet.

    `metrics` holds the values of metrics.json by tag, `errors` their standard errors, and `intervals` the ends of the
    scores' 95 % confidence intervals over the images of this run. `controls` holds the scores of the baselines and of
    `chance`, by tag and source. `needed` holds by label how many images those metrics need that had fewer. `peers`
    names the folders of the runs that UDR compared. `repeat` is the progress of a repeat with force=true. A `typed` row
    has no configuration: only the settings in its overrides are known. `plugins` names the packages whose options the
    run uses, and `tags` are the words in tags=[...].
    """

    name: str
    path: Path | None
    state: str  # finished, running, interrupted, killed, diverged, failed, new
    step: int = 0
    error: str = ""
    settings: dict[str, Setting] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    controls: dict[str, dict[str, float]] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    needed: dict[str, int] = field(default_factory=dict)
    peers: frozenset[str] = frozenset()
    repeat: str = ""
    typed: bool = False
    plugins: tuple[Any, ...] = ()
    tags: frozenset[str] = frozenset()

    def half(self, tag: str) -> float | None:
        """Return half the 95 % interval of a value over the images of this run; None if it has no interval."""
        if tag in self.intervals:
            low, high = self.intervals[tag]
            return (high - low) / 2
        return 1.96 * self.errors[tag] if tag in self.errors else None


def collect(paths: Iterable[Path], tags: Collection[str] = ()) -> list[Row]:
    """Return a row for each run below `paths` (run folders, folders of runs, records of sweeps), each run once.

    With `tags`, only runs that have one of them are returned.

    Raises:
        ConfigError: a path does not exist, no run is found, or none has one of the tags.
    """
    paths = list(paths)
    rows: dict[Path, Row] = {}
    for path in paths:
        if not os.path.exists(path):  # unlike pathlib's, it does not raise where a folder may not be searched
            raise ConfigError(f"{path} does not exist; name run folders, a folder of runs, or a sweeps/*.json")
        for key, row in _below(path):
            known = rows.setdefault(key, row)
            if row.error and not known.error:
                rows[key] = replace(
                    known, error=row.error
                )  # the launcher knows the reason of a crash, the run does not
    if not rows:
        raise ConfigError(
            f"no runs in {', '.join(map(str, paths))}; name run folders, a folder of runs, or a sweeps/*.json"
        )
    tagged = [row for row in rows.values() if not tags or row.tags & {*tags}]
    if not tagged:
        there = ", ".join(sorted(frozenset().union(*(row.tags for row in rows.values())))) or "no tags"
        raise ConfigError(f"no run has tags={','.join(tags)}; the runs have {there}")
    return tagged


def _below(path: Path) -> Iterator[tuple[Path, Row]]:
    if os.path.isfile(path):
        yield from _of_sweep(Sweep.read(path))
        return
    folders, records, unreadable = _walk(path)
    for folder in folders:
        yield folder.resolve(), of_run(Run(folder))
    for folder, error in unreadable:
        yield folder.resolve(), Row(_printable(folder), folder, "failed", error=f"{folder} cannot be read: {error}")
    for record in records:
        try:
            yield from _of_sweep(Sweep.read(record))
        except ConfigError as error:
            yield record.resolve(), Row(_printable(record), record, "failed", error=str(error))


def _walk(path: Path) -> tuple[list[Path], list[Path], list[tuple[Path, str]]]:
    """Return the run folders and the records of sweeps below `path`, and the folders that cannot be read, and why."""
    runs, records = [], []
    errors: list[OSError] = []
    for name, folders, files in os.walk(path, onerror=errors.append):
        here = Path(name)
        if "status.json" in files + folders or {"config.yaml", "provenance.json"} <= {*files}:
            runs.append(here)
        if here.name == FOLDER:
            records += [here / file for file in files if file.endswith(".json")]
        folders[:] = [folder for folder in folders if not folder.startswith(".")]  # a repeat in preparation
    return sorted(runs), sorted(records), [(Path(error.filename), str(error.strerror)) for error in errors]


def _of_sweep(sweep: Sweep) -> Iterator[tuple[Path, Row]]:
    for job in sweep.jobs:
        run, error = sweep.run(job), job.error or ""
        if run is not None and _begun(run):
            row = of_run(run)
            yield run.path.resolve(), row if row.state == "finished" else replace(row, error=row.error or error)
            continue
        state = "failed" if error else "new"  # without a run folder: it is about to be composed
        path = None if run is None else run.path
        row = Row(job.name, path, state, error=error, settings=_typed(job), typed=True)
        yield (path or sweep.out / job.name).resolve(), row


def _begun(run: Run) -> bool:
    """Return whether a run has a status, or a folder that this user may not look into."""
    try:
        return (run.path / "status.json").exists()
    except PermissionError:
        return True


def _typed(job: SweepJob) -> dict[str, Setting]:
    pairs = (override.lstrip("+~").partition("=") for override in job.overrides)
    return {key: typed_value(value) for key, _, value in pairs if value}


def typed_value(text: str) -> Setting:
    """Return the value of a setting that was typed as `text`: 4 is 4.0, `true` is True."""
    if text in (named := {"true": True, "false": False, "null": None}):
        return named[text]
    try:
        return float(text)
    except ValueError:
        return text


def of_run(run: Run) -> Row:
    """Return the row of a run folder; a folder that cannot be read is a failed run with the reason as its error."""
    try:
        status = run.status()
        values = run.metrics()
        scores = run.scores()
        found = list(_flat(scores))
        if status["state"] == "new":
            raise ConfigError(f"{run.path / 'status.json'} is missing: repeat the run's command")
        config = run.config() if (run.path / "config.yaml").exists() else {}
        return Row(
            name=_printable(run.path),
            path=run.path,
            state=run.state(),
            step=status["step"],
            error=status.get("error", ""),
            settings=_settings(run, config) if config else {},
            metrics={tag: value for tag, value in values.items() if not tag.endswith("_se")},
            errors={tag.removesuffix("_se"): value for tag, value in values.items() if tag.endswith("_se")},
            controls={tag: others for tag, _, others in found if others},
            intervals={tag: (of["low"], of["high"]) for tag, of, _ in found if of.get("low") is not None},
            needed=needed_images(scores.get("metric", {})),
            peers=_peers(scores),
            repeat=_repeat(run.place(force=True)),
            plugins=tuple(plugins_of(config)),
            tags=frozenset(map(str, config.get("tags", ()))),
        )
    except Exception as error:  # whatever is wrong with one run must not hide the others
        reason = str(error) if isinstance(error, ConfigError) else f"{run.path} cannot be read: {error!r}"
        return Row(_printable(run.path), run.path, "failed", error=reason)


def _printable(path: Path) -> str:
    """Return the name of a folder; bytes that are not UTF-8 are shown as `?`."""
    return path.name.encode(errors="replace").decode()


def _settings(run: Run, config: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the settings that distinguish runs; the beginning of the images' checksum is one of them."""
    checksum = run.data_checksum()
    known = {CHECKSUM: checksum[: len("sha256:") + 8]} if checksum else {}
    return flat_settings(config) | known


def _flat(scores: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, float], dict[str, float]]]:
    """Yield each tag with the model's score and interval, and with the values of the baselines and chance."""
    for stage, entries in scores.items():
        for label, entry in entries.items():
            for name, sources in entry["scores"].items():
                others = {source: score["value"] for source, score in sources.items() if source != "model"}
                if name in entry.get("chance", {}):
                    others["chance"] = entry["chance"][name]
                yield f"{stage}/{label}/{name}", sources.get("model", {}), others


def _repeat(run: Run) -> str:
    status = run.status()
    error = f": {status['error']}" if status.get("error") else ""
    return "" if status["state"] == "new" else f"{run.state()} at step {status['step']:,}{error}"


def _peers(scores: Mapping[str, Any]) -> frozenset[str]:
    udr = scores.get("metric-runs", {}).get("udr", {"protocol": {}})
    return frozenset(Path(path).name for path in udr["protocol"].get("runs", ()))
