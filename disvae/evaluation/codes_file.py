"""Codes in a file, HDF5 or NPZ: `codes` (N, D), and where known `factors` (N, K) and `factor_names` (K,).

The encoding that a run keeps is such a file, with the encoder's outputs and the controls' codes beside them.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from disvae.config import ConfigError
from disvae.data import array_file
from disvae.runs.atomic import write_atomically

CODES_ADVICE = (
    "codes are read from HDF5 or from NPZ, which numpy.savez('codes.npz', codes=codes, factors=factors) writes"
)


def read_codes(path: Path) -> dict[str, np.ndarray]:
    """Return every array of the file by name, `group/name` inside a group; strings as a numpy array of str.

    Raises:
        ConfigError: no such file, neither HDF5 nor NPZ, damaged, or made to do harm.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; name one that holds codes (N, D), .h5 or .npz")
    try:
        return array_file.read_arrays(path, CODES_ADVICE)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an HDF5 file that is whole or not there; a changed byte in it is found at reading.

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
