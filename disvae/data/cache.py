"""A cache of arrays that are built once per machine, each in an .npz file that is complete or absent.

Images that may be larger than memory lie beside it in a file of raw pixels, which is mapped into memory.
"""

import glob
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from disvae.runs.atomic import replacing
from disvae.system.locks import awaited

log = logging.getLogger(__name__)

Arrays = dict[str, np.ndarray]
Write = Callable[[np.ndarray], None]
"""A function that appends pixels, uint8, to the file of a cache."""


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
        _clear(path)
        arrays = dict(build())
        checksum = content_checksum(arrays)
        try:
            with replacing(path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, CONTENTS=np.array([checksum, *sorted(arrays)]), **arrays)
        except OSError as error:
            raise _unwritable(path, error) from error
        return arrays, checksum


def map_once(path: Path, build: Callable[[Write], Mapping[str, np.ndarray]]) -> tuple[np.ndarray, Arrays, str]:
    """Return pixels (N, C, H, W) that are mapped into memory, the arrays at `path`, and the checksum of both.

    `build(write)` passes blocks of pixels to `write` and returns the arrays, of which `shape` is (N, C, H, W). It is
    called once; the pixels are stored beside `path`, with the suffix .pixels.
    """
    pixels = path.with_suffix(".pixels")

    def make() -> Arrays:
        sha = hashlib.sha256()
        _clear(pixels)
        with replacing(pixels) as temporary, temporary.open("wb") as file:

            def write(block: np.ndarray) -> None:
                data = np.ascontiguousarray(block, dtype=np.uint8)
                sha.update(data.data.cast("B"))
                try:
                    file.write(data.data.cast("B"))
                except OSError as error:
                    raise _unwritable(path, error) from error

            return dict(build(write)) | {"pixels": np.array(f"sha256:{sha.hexdigest()}")}

    for _ in range(2):
        arrays, checksum = build_once(path, make)
        shape = tuple(arrays["shape"].tolist())
        if pixels.is_file() and pixels.stat().st_size == prod(shape):
            # Copy on write: torch wants memory that it may write to, and the file stays as it is.
            return np.memmap(pixels, np.uint8, "c", shape=shape), arrays, checksum
        log.warning("%s is incomplete: making it again", pixels)
        path.unlink(missing_ok=True)
    raise OSError(f"{pixels} changes while it is read: is another program writing to the cache folder?")


def _clear(path: Path) -> None:
    """Remove what a killed writer left, and a link at `path`, which in a shared folder may lead anywhere.

    The caller holds the lock, so no writer is alive.
    """
    for stale in [*path.parent.glob(f".{glob.escape(path.name)}.[0-9]*"), *([path] if path.is_symlink() else [])]:
        stale.unlink()


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
