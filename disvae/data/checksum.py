"""Checksums of data files: SHA-256 of the bytes, computed once for each version of a file. Imports no torch."""

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

from disvae.data.cache import cache_folder
from disvae.runs.atomic import write_atomically

log = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds in which a file may change twice and keep its times; a checksum of so new a file is not kept."""


def file_checksum(path: Path, kind: str = "sha256") -> str:
    """Return the checksum of the bytes of a file, such as "sha256:729f..."."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def kept_checksum(path: Path) -> str:
    """Return the SHA-256 of a file; the cache folder keeps it until the file's size or one of its times changes."""
    path = path.resolve()
    name = hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()
    entry = cache_folder() / "checksums" / f"{name}.json"
    found = path.stat()
    version = {"path": str(path), "size": found.st_size, "times": [found.st_mtime_ns, found.st_ctime_ns]}
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
        if {key: known[key] for key in version} == version and str(known["checksum"]).startswith("sha256:"):
            return str(known["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        log.debug("%s has no checksum of %s", entry, path)
    checksum = file_checksum(path)
    if time.time() - max(found.st_mtime, found.st_ctime) > FRESH:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(entry, json.dumps(version | {"checksum": checksum}) + "\n")
        except (OSError, ValueError) as error:
            log.debug("the checksum of %s is not kept: %s", path, error)
    return checksum


def path_checksum(path: Path, names: Sequence[str] = ()) -> str:
    """Return the checksum of the file at `path`, or of the files `names` (all files, if empty) in the folder there.

    Raises:
        OSError: a file does not exist or cannot be read.
    """
    if not path.is_dir():
        return kept_checksum(path)
    chosen = sorted(names or (file.name for file in path.iterdir() if file.is_file() and file.name[0] != "."))
    each = {name: kept_checksum(path / name) for name in chosen}
    return f"sha256:{hashlib.sha256(json.dumps(each).encode()).hexdigest()}"
