"""The rows of all runs below some paths: run folders, folders of runs and records of sweeps. Imports no torch."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from disvae.comparison.index import rows_of
from disvae.comparison.row import Row, of_run, printable
from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.runs.settings import Setting
from disvae.sweep.record import FOLDER, Sweep, SweepJob


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
        for key, row in _below(path, rows):
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


def _below(path: Path, known: Mapping[Path, Row]) -> Iterator[tuple[Path, Row]]:
    if os.path.isfile(path):
        yield from _of_sweep(Sweep.read(path), known)
        return
    folders, records, unreadable = _walk(path)
    for folder, row in rows_of(folders):
        yield folder.resolve(), row
    for folder, error in unreadable:
        yield folder.resolve(), Row(printable(folder), folder, "failed", error=f"{folder} cannot be read: {error}")
    for record in records:
        try:
            yield from _of_sweep(Sweep.read(record), known)
        except ConfigError as error:
            yield record.resolve(), Row(printable(record), record, "failed", error=str(error))


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


def _of_sweep(sweep: Sweep, known: Mapping[Path, Row]) -> Iterator[tuple[Path, Row]]:
    for job in sweep.jobs:
        run, error = sweep.run(job), job.error or ""
        if run is not None and _begun(run):
            key = run.path.resolve()
            row = known[key] if key in known else of_run(run)
            yield key, row if row.state == "finished" else replace(row, error=row.error or error)
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
