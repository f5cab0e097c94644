"""An index of finished runs, so that thousands of folders are listed and compared without reading all of their files.

It is a hidden file beside the run folders. It holds the row of each finished run with the sizes and times of change of
the files that the row was read from, and an entry counts only as long as these are the same. It may be deleted at any
time, and a folder that cannot be written has none. Imports no torch.
"""

import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import groupby
from pathlib import Path
from typing import Any

from disvae import __version__
from disvae.comparison.row import Row, of_run
from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run

log = logging.getLogger(__name__)

FILE = ".index"
"""The file of the index, in the folder that holds the run folders."""

LEAST = 100
"""Fewest runs beside one another that have an index; fewer are read in a second."""

READ = ("config.yaml", "status.json", "metrics.json", "scores.json", "provenance.json", "digests.json", ".new")
"""The files that a row is read from."""

MAPPINGS = {"settings": 1, "metrics": 1, "errors": 1, "controls": 2, "intervals": 1, "needed": 1}
"""The fields of a row that are mappings, with their depth; runs have the same names, so each set is stored once."""

MADE_BY = [__version__, "names once", *(each.name for each in fields(Row))]
"""What must be the same in the program that wrote an index."""

Names = dict[tuple[str, ...], int]
"""The sets of names of all mappings, in order, with the number of each."""

State = list[list[int] | None]
"""Size and time of change of each file in READ; None for a file that is not there."""


def rows_of(folders: Iterable[Path]) -> Iterator[tuple[Path, Row]]:
    """Yield each run folder with its row, in order; runs beside one another must follow each other."""
    for parent, beside in groupby(folders, key=lambda folder: folder.parent):
        runs = list(beside)
        if len(runs) < LEAST:
            yield from ((folder, of_run(Run(folder))) for folder in runs)
            continue
        names, known = _read(parent / FILE)
        sets = list(names)
        kept: dict[str, Any] = {}
        for folder in runs:
            state = _state(folder)
            row = _row(folder, state, known.get(folder.name), sets)
            entry = known.get(folder.name)
            if row is None:
                row = of_run(Run(folder))
                entry = [state, _entry(row, names)]
            if row.state == "finished" and not row.repeat:
                kept[folder.name] = entry
            yield folder, row
        if kept != known:
            _write(parent / FILE, names, kept)


def _state(folder: Path) -> State:
    found: State = []
    for name in READ:
        try:
            of = os.stat(folder / name)
            found.append([of.st_size, of.st_mtime_ns])
        except OSError:
            found.append(None)
    return found


def _entry(row: Row, names: Names) -> dict[str, Any]:
    of_row = {each.name: getattr(row, each.name) for each in fields(Row) if each.name != "path"}
    mappings = {name: _packed(of_row[name], names, depth) for name, depth in MAPPINGS.items()}
    return of_row | mappings | {"peers": sorted(row.peers), "tags": sorted(row.tags)}


def _packed(found: dict[str, Any], names: Names, depth: int) -> list[Any]:
    """Return the number of the mapping's set of names, and its values in their order."""
    values = [_packed(each, names, depth - 1) for each in found.values()] if depth > 1 else found.values()
    return [names.setdefault(tuple(found), len(names)), *values]


def _unpacked(packed: list[Any], sets: Sequence[tuple[str, ...]], depth: int) -> dict[str, Any]:
    values = [_unpacked(each, sets, depth - 1) for each in packed[1:]] if depth > 1 else packed[1:]
    return dict(zip(sets[packed[0]], values, strict=True))


def _row(folder: Path, state: State, entry: Any, sets: Sequence[tuple[str, ...]]) -> Row | None:
    """Return the row of an entry; None if there is no entry or a file has changed."""
    try:
        if entry is None or entry[0] != state:
            return None
        found = entry[1]
        whole: dict[str, Any] = {name: _unpacked(found[name], sets, depth) for name, depth in MAPPINGS.items()}
        whole["intervals"] = {tag: (low, high) for tag, (low, high) in whole["intervals"].items()}
        whole |= {name: frozenset(found[name]) for name in ("peers", "tags")}
        return Row(**{**found, **whole, "path": folder, "plugins": tuple(found["plugins"])})
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        log.debug("the entry of %s is not used: %r", folder, error)
        return None


def _read(path: Path) -> tuple[Names, dict[str, Any]]:
    try:
        made_by, *found = json.loads(zlib.decompress(path.read_bytes()))
        if made_by == MADE_BY:
            sets, known = found
            return {tuple(each): i for i, each in enumerate(sets)}, dict(known)
    except FileNotFoundError:
        pass
    except Exception as error:  # a damaged file makes the parsers raise many kinds of errors
        log.debug("%s is not used, but written again: %r", path, error)
    return {}, {}


def _write(path: Path, names: Names, known: dict[str, Any]) -> None:
    try:
        write_atomically(path, zlib.compress(json.dumps([MADE_BY, list(names), known]).encode(), 1))
    except ConfigError as error:  # somebody else's runs: they are read each time
        log.debug("no index: %s", error)
