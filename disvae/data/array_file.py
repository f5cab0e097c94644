"""Arrays of HDF5 and NPZ files read in blocks of rows, after what the file declares has been compared with what is due.

A file from elsewhere may be cut, be another file, declare a terabyte, or (HDF5) point at other files of this machine:
each is refused with one line, before any row is read.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import IO

import h5py
import numpy as np

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
LARGEST_CHUNK = 1 << 28  # bytes of one HDF5 chunk, which is held in memory whole


def blocks(path: Path, key: str, dtype: str, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    """The array `key` ("latents/classes", in an NPZ "latents_classes") in blocks of at most `block` rows.

    `shape` is what it must have; its first entry is the largest number of rows allowed.
    """
    with _one_line(path):
        with path.open("rb") as file:
            magic = file.read(len(HDF5_MAGIC))
        if magic == HDF5_MAGIC:
            yield from _hdf5(path, key, np.dtype(dtype), shape, block)
        elif magic.startswith(b"PK"):
            yield from _npz(path, key.replace("/", "_"), np.dtype(dtype), shape, block)
        else:
            raise ValueError("expected an HDF5 or NPZ file, found neither (cut, or not the file but a web page?)")


def _hdf5(path: Path, key: str, dtype: np.dtype, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    with h5py.File(path, "r") as file:
        node = file
        for name in key.split("/"):
            if not isinstance(node, h5py.Group) or name not in node:
                raise ValueError(f"expected an array {key}, found {_listed(node)}")
            if not isinstance(node.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"expected {key} inside the file, found a link")
            node = node[name]
        if not isinstance(node, h5py.Dataset):
            raise ValueError(f"expected an array {key}, found {_listed(node)}")
        _compare(key, node.dtype, node.shape, dtype, shape)
        if node.external or node.is_virtual:
            raise ValueError(f"expected {key} inside the file, found a reference to other files")
        if node.chunks and prod(node.chunks) * dtype.itemsize > LARGEST_CHUNK:
            raise ValueError(f"expected {key} in chunks of at most {LARGEST_CHUNK:,} bytes, found {node.chunks}")
        _all_stored(key, node)
        for start in range(0, len(node), block):
            yield node[start : start + block]


def _all_stored(key: str, data: h5py.Dataset) -> None:
    """HDF5 gives zeros for whatever its index does not find, and the index of most files has no checksum."""
    if not data.chunks:
        if data.id.get_storage_size() != data.nbytes:
            raise ValueError(f"expected {data.nbytes:,} bytes of {key}, found {data.id.get_storage_size():,}")
        return
    for corner in product(*(range(0, n, step) for n, step in zip(data.shape, data.chunks, strict=True))):
        try:
            skipped, raw = data.id.read_direct_chunk(corner)
        except MemoryError:  # what h5py says of a chunk that was never stored
            skipped, raw = 0, b""
        if skipped or not raw:
            raise ValueError(f"expected {key} to be stored whole, found no sound chunk at {corner}")


def _npz(path: Path, key: str, dtype: np.dtype, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if f"{key}.npy" not in archive.namelist():
            raise ValueError(f"expected an array {key}, found {', '.join(archive.namelist()) or 'nothing'}")
        with archive.open(f"{key}.npy") as file:
            found_shape, fortran, found = _npy_header(file)
            _compare(key, found, found_shape, dtype, shape)
            count, row = found_shape[0], found_shape[1:]
            if fortran and count > block:  # such an array has its rows strewn over the file
                raise ValueError(f"expected {key} in C order, found Fortran order")
            for start in range(0, count, block):
                rows = min(block, count - start)
                values = np.frombuffer(_exactly(file, rows * prod(row) * dtype.itemsize), dtype)
                yield values.reshape((rows, *row), order="F" if fortran else "C")
            if file.read(1):  # the read at the end is also what makes zipfile compare its checksum
                raise ValueError(f"expected {count:,} rows of {key}, found more")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, Fortran order and type that a .npy file declares; read as a literal, nothing in it is run."""
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise EOFError(f"expected {count:,} more bytes, found {len(data):,}")
    return data


def _compare(key: str, found: np.dtype, found_shape: tuple[int, ...], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    fits = len(found_shape) == len(shape) and found_shape[1:] == shape[1:] and 1 <= found_shape[0] <= shape[0]
    if found != dtype or not fits:
        due = ", ".join(map(str, (f"N <= {shape[0]}", *shape[1:])))
        raise ValueError(f"expected {key} to be {dtype} ({due}), found {found} {found_shape}")


def _listed(node: object) -> str:
    return f"only {', '.join(node)}" if isinstance(node, h5py.Group) and len(node) else "nothing of that name"


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    """Whatever a broken file makes h5py, zipfile or NumPy raise, told in one line that names the file."""
    try:
        yield
    except (OSError, EOFError, KeyError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({reason}): fetch it again, or name the right file") from error
