"""A cache of arrays that are built once per machine, each in an .npz file that is complete or absent."""

import glob
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from disvae.runs.atomic import replacing
from disvae.system.locks import awaited

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]


def cache_folder() -> Path:
    """Return the cache folder: $DISVAE_CACHE_DIR, else $XDG_CACHE_HOME/disvae, else ~/.cache/disvae."""
    if chosen := os.environ.get("DISVAE_CACHE_DIR"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "disvae"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lock `path` against all other processes on this machine; a killed process releases its lock at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = awaited(path.with_name(path.name + ".lock"))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        yield
    finally:
        lock.release()


def build_once(path: Path, build: Callable[[], Mapping[str, np.ndarray]]) -> tuple[Arrays, str]:
    """Return the arrays at `path` and the checksum of their content; build them if they are absent or damaged."""
    if (found := _read(path)) is not None:
        return found
    with locked(path):
        if (found := _read(path)) is not None:
            return found
        # We hold the lock, so the writer of a temporary file was killed; a link in a shared folder may lead anywhere.
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
    """Return the SHA-256 of names, types, shapes and values, which does not depend on the file format."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        values = np.ascontiguousarray(arrays[name])
        sha.update(f"{name} {values.dtype.str} {values.shape}\n".encode())
        sha.update(values.data.cast("B") if values.size else b"")
    return f"sha256:{sha.hexdigest()}"


def _read(path: Path) -> tuple[Arrays, str] | None:
    """Return the arrays at `path` and their checksum, or None if the file is absent or damaged."""
    if not path.exists():
        return None
    from disvae.data import array_file  # imports h5py, which a drawn dataset does not need

    try:
        arrays = array_file.read_arrays(path)
        checksum, *names = arrays.pop("CONTENTS").tolist()
        if names != sorted(arrays):
            raise ValueError(f"expected {', '.join(names)}, found {', '.join(sorted(arrays))}")
        return arrays, checksum
    except Exception as error:  # a damaged zip raises many kinds of errors
        log.warning("%s is damaged (%s): making it again", path, error)
        return None


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(f"the cache folder {path.parent} cannot be used ({error}): set DISVAE_CACHE_DIR to another one")
