"""An index of finished runs, so that thousands of folders are listed and compared without reading all of their files.

It is a hidden file beside the run folders. It holds the row of each finished run with the sizes and times of change of
the files that the row was read from, and an entry counts only as long as these are the same. Numbers are bytes, and
their names, which most runs share, are held once: parsing a million numbers would take most of the time. It may be
deleted at any time, and a folder that cannot be written has none. Imports no torch.
"""

import json
import logging
import os
import sys
import zlib
from array import array
from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from itertools import chain, groupby, islice
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

MADE_BY = [__version__, sys.byteorder, *(each.name for each in fields(Row))]
"""What must be the same in the program that wrote an index."""

_NUMBERS = ("metrics", "errors", "intervals", "controls")
"""The fields of a row that hold numbers by name."""

State = list[list[int] | None]
"""Size and time of change of each file in READ; None for a file that is not there."""


def rows_of(folders: Iterable[Path]) -> Iterator[tuple[Path, Row]]:
    """Yield each run folder with its row, in order; runs beside one another must follow each other."""
    for parent, beside in groupby(folders, key=lambda folder: folder.parent):
        runs = list(beside)
        if len(runs) < LEAST:
            yield from ((folder, of_run(Run(folder))) for folder in runs)
            continue
        known = _read(parent / FILE)
        kept: dict[str, Any] = {}
        for folder in runs:
            state = _state(folder)
            row = _row(folder, state, known.get(folder.name))
            entry = known.get(folder.name)
            if row is None:
                row = of_run(Run(folder))
                entry = [state, _entry(row)]
            if row.state == "finished" and not row.repeat:
                kept[folder.name] = entry
            yield folder, row
        if kept != known:
            _write(parent / FILE, kept)


def _state(folder: Path) -> State:
    found: State = []
    for name in READ:
        try:
            of = os.stat(folder / name)
            found.append([of.st_size, of.st_mtime_ns])
        except OSError:
            found.append(None)
    return found


def _entry(row: Row) -> dict[str, Any]:
    """Return the row as JSON; the names of its numbers are a text of its own, which other runs may share."""
    of_row = {each.name: getattr(row, each.name) for each in fields(Row) if each.name not in ("path", *_NUMBERS)}
    names = [list(row.metrics), list(row.errors), list(row.intervals), {t: list(of) for t, of in row.controls.items()}]
    controls = (of.values() for of in row.controls.values())
    numbers = list(chain(row.metrics.values(), row.errors.values(), *row.intervals.values(), *controls))
    floats = all(type(number) is float for number in numbers)
    return of_row | {
        "peers": sorted(row.peers),
        "tags": sorted(row.tags),
        "names": json.dumps(names),
        "numbers": b64encode(array("d", numbers)).decode() if floats else numbers,
    }


def _row(folder: Path, state: State, entry: Any) -> Row | None:
    """Return the row of an entry; None if there is no entry or a file has changed."""
    try:
        if entry is None or entry[0] != state:
            return None
        found = dict(entry[1])
        metrics, errors, intervals, controls = _parsed(found.pop("names"))
        numbers = found.pop("numbers")
        of = iter(array("d", b64decode(numbers)) if isinstance(numbers, str) else numbers)
        sets = {name: frozenset(found[name]) for name in ("peers", "tags")}
        return Row(
            **{**found, **sets, "path": folder, "plugins": tuple(found["plugins"])},
            metrics=_named(metrics, of),
            errors=_named(errors, of),
            intervals=_named(intervals, zip(of, of, strict=True)),
            controls={tag: _named(sources, of) for tag, sources in controls.items()},
        )
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        log.debug("the entry of %s is not used: %r", folder, error)
        return None


def _named(names: list[str], values: Iterator[Any]) -> dict[str, Any]:
    return dict(zip(names, islice(values, len(names)), strict=True))


@cache
def _parsed(text: str) -> Any:
    return json.loads(text)


def _read(path: Path) -> dict[str, Any]:
    try:
        made_by, known, texts = json.loads(zlib.decompress(path.read_bytes()))
        for _, entry in known.values() if made_by == MADE_BY else ():
            entry["names"] = texts[entry["names"]]
        return dict(known) if made_by == MADE_BY else {}
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file makes the parsers raise many kinds of errors
        log.debug("%s is not used, but written again: %r", path, error)
        return {}


def _write(path: Path, known: dict[str, Any]) -> None:
    texts: dict[str, int] = {}
    short = {
        name: [state, entry | {"names": texts.setdefault(entry["names"], len(texts))}]
        for name, (state, entry) in known.items()
    }
    try:
        write_atomically(path, zlib.compress(json.dumps([MADE_BY, short, list(texts)]).encode(), 1))
    except ConfigError as error:  # somebody else's runs: they are read each time
        log.debug("no index: %s", error)
