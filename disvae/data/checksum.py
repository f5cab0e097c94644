"""Checksums of data files: SHA-256 of the bytes, computed once for each version of a file. Imports no torch."""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from tqdm import tqdm

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
    return _kept(path, [""], lambda: file_checksum(path))


def path_checksum(path: Path, names: Sequence[str] = ()) -> str:
    """Return the checksum of the file at `path`, or of the files `names` in the folder there.

    A name with a star is a pattern, "*.png", which stands for all visible files with such a name, at any depth and in
    any case; without names all visible files count. The checksum is kept like that of a file.

    Raises:
        OSError: a file does not exist or cannot be read.
    """
    if not path.is_dir():
        return kept_checksum(path)
    path = path.resolve()
    chosen = sorted({*(name for name in names if "*" not in name), *visible_files(path, names)})

    def compute() -> str:
        bar = tqdm(chosen, desc="checksums", unit=" files", unit_scale=True, leave=False, disable=None)
        each = {name: file_checksum(path / name) for name in bar}
        return f"sha256:{hashlib.sha256(json.dumps(each).encode()).hexdigest()}"

    return _kept(path, chosen, compute)


def visible_files(folder: Path, names: Sequence[str], *, lost_links: bool = False) -> Iterator[str]:
    """Yield the visible files in a folder, at any depth, that a pattern in `names` stands for, or all without names.

    With `lost_links`, links to files that are missing count as files.

    Raises:
        OSError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise error

    patterns = [name for name in names if "*" in name] if names else ["*"]
    for place, folders, files in os.walk(folder, onerror=refuse) if patterns else ():
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            file, matches = Path(place, name), any(fnmatchcase(name.lower(), pattern) for pattern in patterns)
            if matches and not name.startswith(".") and (file.is_file() or (lost_links and not file.exists())):
                yield file.relative_to(folder).as_posix()


def _kept(path: Path, names: Sequence[str], compute: Callable[[], str]) -> str:
    """Return the checksum of `names` in `path`; the cache folder keeps it until a size or a time changes."""
    stats = [(path / name).stat() for name in names]
    each = [[name, at.st_size, at.st_mtime_ns, at.st_ctime_ns] for name, at in zip(names, stats, strict=True)]
    version = {"path": str(path), "files": hashlib.sha256(json.dumps(each).encode()).hexdigest()}
    name = hashlib.sha256(str(path).encode(errors="surrogateescape")).hexdigest()
    entry = cache_folder() / "checksums" / f"{name}.json"
    try:
        known = json.loads(entry.read_text(encoding="utf-8"))
        if {key: known[key] for key in version} == version and str(known["checksum"]).startswith("sha256:"):
            return str(known["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        log.debug("%s has no checksum of %s", entry, path)
    checksum = compute()
    if time.time() - max((max(at.st_mtime, at.st_ctime) for at in stats), default=0.0) > FRESH:
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(entry, json.dumps(version | {"checksum": checksum}) + "\n")
        except (OSError, ValueError) as error:
            log.debug("the checksum of %s is not kept: %s", path, error)
    return checksum
