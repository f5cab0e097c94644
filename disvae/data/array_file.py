"""Arrays of HDF5, NPZ and NPY files, read in blocks of rows or all at once, after what a file declares is checked.

A downloaded file may be cut off, have another format, declare a terabyte, or (HDF5) refer to other files on this
machine. Each of these is refused with a message of one line before any row is read.
"""

import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import product
from math import prod
from pathlib import Path
from typing import IO

import h5py
import numpy as np

NPY = b"\x93NUMPY"  # first bytes of a .npy file
LARGEST_CHUNK = 1 << 28  # bytes of one HDF5 chunk, which is held in memory as a whole
ALWAYS_READ = 1 << 26  # bytes of arrays that are read at any compression, since every machine can hold them
RATIO = 100  # bytes of arrays per byte of the file; compression shrinks codes less than 10 times, zeros 1,000 times
LARGEST_ARRAYS = 1 << 34  # bytes read at once: codes and baselines of a million images with 500 latents take 10 GB
NAMES, NAME = 10_000, 1_000  # strings in an array and characters in each; HDF5 may store one string and repeat it
NAMES_CHUNK = 1 << 20  # bytes of a chunk of strings; they are read one by one, and HDF5 caches a chunk of this size
FORMATS_ADVICE = "fetch it again, or name the right file"
ONLY_ARRAY = ""
"""The name of the one array in a .npy file."""


def blocks(path: Path, key: str, dtype: str, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    """Yield the array `key` ("latents/classes", in an NPZ "latents_classes") in blocks of at most `block` rows.

    The array must have this `dtype` and `shape`; the first entry of `shape` is the largest number of rows. The key
    ONLY_ARRAY reads a .npy file.
    """
    with _one_line(path, FORMATS_ADVICE):
        if key == ONLY_ARRAY:
            with path.open("rb") as file:
                yield from _npy("the array", file, np.dtype(dtype), shape, block)
        elif _is_hdf5(path):
            yield from _hdf5(path, key, np.dtype(dtype), shape, block)
        else:
            yield from _npz(path, key.replace("/", "_"), np.dtype(dtype), shape, block)


def declared(path: Path, advice: str = FORMATS_ADVICE) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """Return the shape and type that each array of a file declares, by name; nothing else is read."""
    with _one_line(path, advice):
        if _magic(path) == NPY:
            with path.open("rb") as file:
                shape, _, dtype = _npy_header(file)
                return {ONLY_ARRAY: (shape, dtype)}
        if _is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {name: (node.shape, node.dtype) for name, node in _datasets(file).items()}
        found = {}
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                with archive.open(name) as file:
                    shape, _, dtype = _npy_header(file)
                    found[name.removesuffix(".npy")] = shape, dtype
        return found


def read_arrays(path: Path, advice: str = FORMATS_ADVICE, only: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """Return every array of a file, or those in `only`, by name; strings are arrays of str.

    The name of an HDF5 array in a group is `group/name`. The declared sizes are compared with the stored bytes before
    memory is allocated. `advice` ends an error message.
    """
    with _one_line(path, advice):
        return _read_hdf5(path, only) if _is_hdf5(path) else _read_npz(path, only)


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(NPY))


def _is_hdf5(path: Path) -> bool:
    magic = _magic(path)
    if not (hdf5 := h5py.is_hdf5(path)) and not magic.startswith(b"PK"):
        found = "one array, .npy" if magic == NPY else "neither"
        raise ValueError(f"expected an HDF5 or NPZ file, found {found}")
    return bool(hdf5)


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return the arrays of an HDF5 file by name; raise ValueError if the file holds a link to another place."""
    links: dict[str, h5py.HardLink] = {}
    file.visititems_links(links.__setitem__)
    for name, link in links.items():
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"expected {name} inside the file, found a link")
    return {name: node for name in links if isinstance(node := file[name], h5py.Dataset)}


def _read_hdf5(path: Path, only: Collection[str] | None) -> dict[str, np.ndarray]:
    with h5py.File(path, "r") as file:
        found = {name: node for name, node in _datasets(file).items() if only is None or name in only}
        _plausible(sum(_declared(name, node) for name, node in found.items()), path)
        for name, node in found.items():
            _all_inside(name, node)
        return {name: _strings(name, node) if node.dtype.kind in "OS" else node[()] for name, node in found.items()}


def _read_npz(path: Path, only: Collection[str] | None) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        chosen = [info for info in archive.infolist() if only is None or info.filename.removesuffix(".npy") in only]
        _plausible(sum(info.file_size for info in chosen), path)
        found = {}
        for info in chosen:
            with archive.open(info) as file:
                shape, _, dtype = _npy_header(file)
                if dtype.kind not in "biufcSU":
                    raise ValueError(f"expected numbers or strings in {info.filename}, found {dtype}")
                if (declared := file.tell() + prod(shape) * dtype.itemsize) != info.file_size:
                    raise ValueError(f"expected {info.file_size:,} bytes of {info.filename}, it declares {declared:,}")
                file.seek(0)
                found[info.filename.removesuffix(".npy")] = np.lib.format.read_array(file, allow_pickle=False)
                file.read(1)  # zipfile compares its checksum when a read reaches the end
        return found


def _plausible(declared: int, path: Path) -> None:
    """Raise ValueError if `declared` bytes of arrays are too many, or too many for the size of the file."""
    stored = path.stat().st_size
    if declared > LARGEST_ARRAYS:
        raise ValueError(f"expected at most {LARGEST_ARRAYS:,} bytes of arrays, found {declared:,}")
    if declared > max(ALWAYS_READ, RATIO * stored):
        raise ValueError(
            f"found {declared:,} bytes of arrays in a file of {stored:,}, more than {RATIO} times as many: "
            "write it without compression"
        )


def _declared(name: str, node: h5py.Dataset) -> int:
    """Return the bytes of a dataset's values; raise ValueError unless they are numbers or a few strings."""
    text = h5py.check_string_dtype(node.dtype)
    if node.shape is None or (node.dtype.kind not in "biufc" and text is None):
        raise ValueError(f"expected numbers or strings in {name}, found {node.dtype} of shape {node.shape}")
    if text is not None and node.size > NAMES:
        raise ValueError(f"expected at most {NAMES:,} strings in {name}, found {node.size:,}")
    return int(node.size * node.id.get_type().get_size())


def _strings(name: str, node: h5py.Dataset) -> np.ndarray:
    """Return the strings of a dataset as an array of str; they are read one by one, since each may be very long."""
    texts = np.empty(node.shape, dtype=object)
    for index in np.ndindex(node.shape):
        texts[index] = node.asstr()[index]
        if len(texts[index]) > NAME:
            raise ValueError(f"expected strings of at most {NAME:,} characters in {name}, found {len(texts[index]):,}")
    return texts.astype(str)


def _all_inside(key: str, node: h5py.Dataset) -> None:
    """Raise ValueError unless all values of a dataset are in the file itself, in chunks that fit in memory."""
    if node.external or node.is_virtual:
        raise ValueError(f"expected {key} inside the file, found a reference to other files")
    largest = NAMES_CHUNK if node.dtype.kind in "OS" else LARGEST_CHUNK
    if node.chunks and prod(node.chunks) * node.id.get_type().get_size() > largest:
        raise ValueError(f"expected {key} in chunks of at most {largest:,} bytes, found {node.chunks}")
    _all_stored(key, node)


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
        _all_inside(key, node)
        for start in range(0, len(node), block):
            yield node[start : start + block]


def _all_stored(key: str, data: h5py.Dataset) -> None:
    """Raise ValueError if a value of a dataset is not stored.

    HDF5 returns zeros for chunks that are missing in its index, and the index of most files has no checksum.
    """
    if not data.chunks:
        if (size := data.id.get_storage_size()) < (due := data.size * data.id.get_type().get_size()):
            raise ValueError(f"expected {due:,} bytes of {key}, found {size:,}")
        return
    for corner in product(*(range(0, n, step) for n, step in zip(data.shape, data.chunks, strict=True))):
        try:
            skipped, raw = data.id.read_direct_chunk(corner)
        except MemoryError:  # h5py raises this for a chunk that was never stored
            skipped, raw = 0, b""
        if skipped or not raw:
            raise ValueError(f"expected {key} to be stored whole, found no sound chunk at {corner}")


def _npz(path: Path, key: str, dtype: np.dtype, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        if f"{key}.npy" not in archive.namelist():
            raise ValueError(f"expected an array {key}, found {', '.join(archive.namelist()) or 'nothing'}")
        with archive.open(f"{key}.npy") as file:
            yield from _npy(key, file, dtype, shape, block)


def _npy(key: str, file: IO[bytes], dtype: np.dtype, shape: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    found_shape, fortran, found = _npy_header(file)
    _compare(key, found, found_shape, dtype, shape)
    count, row = found_shape[0], found_shape[1:]
    if fortran and count > block:  # the values of a row would be spread over the file
        raise ValueError(f"expected {key} in C order, found Fortran order")
    for start in range(0, count, block):
        rows = min(block, count - start)
        values = np.frombuffer(_exactly(file, rows * prod(row) * dtype.itemsize), dtype)
        yield values.reshape((rows, *row), order="F" if fortran else "C")
    if file.read(1):  # zipfile compares its checksum when a read reaches the end
        raise ValueError(f"expected {count:,} rows of {key}, found more")


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Return the shape, Fortran order and type that a .npy file declares; no code in the header is run.

    Only version 1.0 is read: its header has at most 64 kB, while later versions may declare a header of 4 GB.
    """
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"expected a .npy array of version 1.0, found {version[0]}.{version[1]}")
    return np.lib.format.read_array_header_1_0(file)


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
def _one_line(path: Path, advice: str) -> Iterator[None]:
    """Turn any error of h5py, zipfile or NumPy in the body into a ValueError of one line that names the file."""
    try:
        yield
    except Exception as error:  # a damaged file raises many kinds of errors
        reason = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({reason}): {advice}") from error
