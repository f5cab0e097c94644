"""MPI3D from your file: photographs or renderings of a robot arm with an object (Gondal et al. 2019)."""

from math import prod
from pathlib import Path

import numpy as np

from disvae.data import array_file, image_array
from disvae.data.cache import Arrays, Write
from disvae.data.checksum import kept_checksum
from disvae.data.factors import class_indices
from disvae.dataset import Dataset

LATENTS = (
    "object_color", "object_shape", "object_size", "camera_height", "background_color", "horizontal_axis",
    "vertical_axis",
)  # fmt: skip
GRIDS = ((6, 6, 2, 3, 3, 40, 40), (4, 4, 2, 3, 3, 40, 40))
"""Numbers of values of the factors: in the published files, and in those of the competition and of complex objects."""


class MPI3D(Dataset):
    """The 1,036,800 colour images, 3 x 64 x 64, of mpi3d_toy.npz, mpi3d_realistic.npz or mpi3d_real.npz.

    `path` is one of these files, or one with 460,800 images (four colours and shapes); `images` is uint8 (N, 64, 64, 3)
    in the order of the grid of factors, the last factor changing fastest. The images are mapped into memory from the
    cache folder, where they take 12.7 GB.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None or not (file := Path(path).expanduser()).is_file():
            raise ValueError(
                "dataset.path must be mpi3d_toy.npz, mpi3d_realistic.npz or mpi3d_real.npz, from "
                f"https://github.com/rr-learning/disentanglement_dataset, got {path or 'none'}"
            )
        self.checksum = kept_checksum(file)
        self.map_images("mpi3d-v1", self.checksum, lambda write: _read(file, write))


def _read(path: Path, write: Write) -> Arrays:
    shape, _ = array_file.declared(path).get("images", ((), None))
    sizes = next((sizes for sizes in GRIDS if shape == (prod(sizes), 64, 64, 3)), None)
    if sizes is None:
        counts = " or ".join(f"{prod(sizes):,}" for sizes in GRIDS)
        raise ValueError(f"{path}: images must be (N, 64, 64, 3) with {counts} images, got {shape or 'no images'}")
    image_array.copy(path, shape, write)
    return class_indices(np.indices(sizes).reshape(len(sizes), -1).T, LATENTS).arrays((prod(sizes), 3, 64, 64))
