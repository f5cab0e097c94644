"""Codes in a file, HDF5 or NPZ: `codes` (N, D), and where known `factors` (N, K) and `factor_names` (K,).

The encoding that a run keeps is such a file, with the encoder's outputs and the controls' codes beside them.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically


def read(path: Path) -> dict[str, np.ndarray]:
    """Every array of the file by name, `group/name` inside a group; strings as a numpy array of str.

    Raises:
        ConfigError: no such file, neither HDF5 nor NPZ, or damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; name one that holds codes (N, D), .h5 or .npz")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                found: dict[str, np.ndarray] = {}
                file.visititems(lambda name, node: found.update({name: _array(node)} if _is_array(node) else {}))
                return found
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # h5py's, NumPy's and zipfile's many ways to say that it is damaged
        raise ConfigError(f"{path} cannot be read as HDF5 or NPZ: {error}") from error


def _is_array(node: object) -> bool:
    return isinstance(node, h5py.Dataset)


def _array(node: h5py.Dataset) -> np.ndarray:
    array = np.asarray(node.asstr()[()]) if h5py.check_string_dtype(node.dtype) else np.asarray(node[()])
    return array.astype(str) if array.dtype == object else array


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """An HDF5 file that is whole or not there; a changed byte in it is found at reading.

    Raises:
        ConfigError: it cannot be written; an older file at `path` is intact.
    """
    content = io.BytesIO()  # not the disk, which may be full: h5py does not survive that
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            if array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(h5py.string_dtype()))
            else:
                file.create_dataset(name, data=array, fletcher32=bool(array.ndim and array.size) or None)
    write_atomically(path, content.getvalue())
