"""Arrays built once per machine: one .npz a name, written under a lock, complete or absent, checked when read."""

import glob
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from disvae.runs.atomic import replacing

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """Return the cache folder: $DISVAE_CACHE_DIR, else $XDG_CACHE_HOME/disvae, else ~/.cache/disvae."""
    if chosen := os.environ.get("DISVAE_CACHE_DIR"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "disvae"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` against every other process of this machine; the lock of a killed holder is free again at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(path.name + ".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            log.info("waiting for another process that is making %s", path)
            lock.acquire()
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def build_once(path: Path, build: Callable[[], Mapping[str, np.ndarray]]) -> tuple[Arrays, str]:
    """Return the arrays kept at `path`, built now if they are absent or damaged, and the checksum of their content."""
    if (found := _read(path)) is not None:
        return found
    with locked(path):
        if (found := _read(path)) is not None:
            return found
        # Whoever wrote a temporary file was killed, for the lock is ours; a link in a shared folder leads elsewhere.
        for stale in [*path.parent.glob(f".{glob.escape(path.name)}.[0-9]*"), *([path] if path.is_symlink() else [])]:
            stale.unlink()
        arrays = dict(build())
        checksum = content_checksum(arrays)
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, CONTENTS=np.array([checksum, *sorted(arrays)]), **arrays)
        except OSError as error:
            raise _unwritable(path, error) from error
        return arrays, checksum


def content_checksum(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of names, types, shapes and values; it is equal for equal content, whatever the file."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        sha.update(values.data.cast("B") if values.size else b"")
    return f"sha256:{sha.hexdigest()}"


def _read(path: Path) -> tuple[Arrays, str] | None:
    """Return what is at `path`, or None where it is absent or does not pass the zip's own checksums."""
    if not path.exists():
        return None
    from disvae.data import array_file  # and h5py with it, which a drawn dataset never needs

    try:
        arrays = array_file.read_arrays(path)
        checksum, *names = arrays.pop("CONTENTS").tolist()
        if names != sorted(arrays):
            raise ValueError(f"expected {', '.join(names)}, found {', '.join(sorted(arrays))}")
        return arrays, checksum
    except Exception as error:  # a broken zip can raise nearly anything, and there is one thing to do about it
        log.warning("%s is damaged (%s): making it again", path, error)
        return None


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(f"the cache folder {path.parent} cannot be used ({error}): set DISVAE_CACHE_DIR to one with space")
