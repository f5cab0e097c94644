"""Files of codes, HDF5 or NPZ: `codes` (N, D) and, if known, `factors` (N, K) and `factor_names` (K,).

The file encoding.h5 of a run also holds the outputs of the encoder and the codes of the baselines.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np

from disvae.config import ConfigError
from disvae.data import array_file
from disvae.runs.atomic import Replacing, replacing, write_atomically

CODES_ADVICE = "write HDF5, or NPZ with numpy.savez('codes.npz', codes=codes, factors=factors)"


def read_codes(path: Path, without: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
    """Return the arrays of the file by name, except those whose names begin with `without`; strings are arrays of str.

    The name of an HDF5 array in a group is `group/name`.

    Raises:
        ConfigError: the file does not exist, is neither HDF5 nor NPZ, is damaged, or could do harm.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not a file; name one that holds codes (N, D), .h5 or .npz")
    try:
        wanted = {name for name in array_file.declared(path, CODES_ADVICE) if not name.startswith(without)}
        return array_file.read_arrays(path, CODES_ADVICE, wanted)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def write(path: Path, arrays: Mapping[str, np.ndarray], within: Replacing = replacing) -> None:
    """Write an HDF5 file, completely or not at all, with checksums that are compared when it is read.

    In a run folder, `within` is `recorded` of runs/digests.py.

    Raises:
        ConfigError: the file cannot be written. An older file at `path` is intact.
    """
    content = io.BytesIO()  # in memory first, because h5py crashes on a full disk
    with h5py.File(content, "w") as file:
        for name, array in arrays.items():
            if array.dtype.kind == "U":
                file.create_dataset(name, data=array.astype(h5py.string_dtype()))
            else:
                file.create_dataset(name, data=array, fletcher32=bool(array.ndim and array.size) or None)
    write_atomically(path, content.getvalue(), within)
