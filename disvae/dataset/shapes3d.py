"""3D Shapes from the official file: three hues x scale x shape x orientation (Burgess & Kim 2018)."""

from pathlib import Path

import numpy as np

from disvae.data import array_file, cache, image_array
from disvae.data.cache import Arrays, Write
from disvae.data.checksum import kept_checksum
from disvae.data.download import fetch
from disvae.data.factors import class_indices
from disvae.dataset import Dataset

NAME = "3dshapes.h5"
URLS = (f"https://storage.googleapis.com/3d-shapes/{NAME}",)
SIZE = 267_573_662
SHA256 = "sha256:0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
IMAGES = 480_000
LATENTS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")


class Shapes3D(Dataset):
    """The 480,000 colour images, 3 x 64 x 64, downloaded (268 MB) unless `path` is given.

    `path` is 3dshapes.h5 or a file with its layout and fewer images: `images` uint8 (N, 64, 64, 3) and `labels` float64
    (N, 6), the values of the factors. The images are mapped into memory from the cache folder, where they take 5.9 GB.
    """

    def __init__(self, path: str | None = None) -> None:
        self.checksum = SHA256 if path is None else kept_checksum(_existing(path))
        self.map_images(
            "shapes3d-v1", self.checksum, lambda write: _read(_download() if path is None else _existing(path), write)
        )


def _existing(path: str) -> Path:
    if not (file := Path(path).expanduser()).is_file():
        raise ValueError(
            f"dataset.path must be {NAME} (from Google's public bucket 3d-shapes), got {path}; "
            "without dataset.path it is downloaded"
        )
    return file


def _download() -> Path:
    path = cache.cache_folder() / NAME
    return fetch(
        URLS,
        path,
        size=SIZE,
        checksum=SHA256,
        otherwise=f"download it elsewhere and type dataset.path=FILE or save it as {path}; or use dataset=sprites",
    )


def _read(path: Path, write: Write) -> Arrays:
    labels = np.concatenate(list(array_file.blocks(path, "labels", "float64", (IMAGES, len(LATENTS)), IMAGES)))
    factors = class_indices(labels, LATENTS)
    done = image_array.copy(path, (len(labels), 64, 64, 3), write)
    if done < len(labels):
        raise ValueError(f"{path}: images must have {len(labels):,} rows, one for each row of labels, got {done:,}")
    return factors.arrays((done, 3, 64, 64))
