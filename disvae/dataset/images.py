"""Your own images: a folder of pictures, or an array file with optional labels or factors of variation."""

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np

from disvae.data import array_file, image_array, pictures
from disvae.data.cache import Arrays, Write
from disvae.data.checksum import path_checksum, visible_files
from disvae.data.factors import own_factors
from disvae.dataset import Dataset

VERSION = 1
"""Number that changes with the way images are read, so that a cache made before is not used."""


class OwnImages(Dataset):
    """The images at `path`, read once into the cache folder and mapped into memory from there.

    A folder holds pictures (PNG, JPEG, GIF, BMP, WebP), or a folder for each class with pictures at any depth. A file
    (NPZ, NPY, HDF5) holds `images` (N, H, W), (N, H, W, C) or (N, C, H, W), uint8 or floating-point numbers in [0, 1],
    and optionally `labels` or `factors` (N,) or (N, K), numbers or strings, `factor_names` (K,) and `class_names`.
    `size` resizes the middle square of each image; `channels` is 1 (grey) or 3 (colour); by default both stay.
    """

    def __init__(
        self,
        path: str | None = None,
        size: int | None = None,
        channels: Literal[1, 3] | None = None,
        skip_broken: bool = False,
    ) -> None:
        if size is not None and not 4 <= size <= 1024:
            raise ValueError(f"size must be from 4 to 1024 pixels a side, got {size}: type dataset.size=64")
        if not path or not (source := Path(path).expanduser()).exists():
            raise ValueError(f"{image_array.ADVICE}; got {path or 'none'}")
        names = sorted(visible_files(source, pictures.PATTERNS, lost_links=True)) if source.is_dir() else []
        if len(names) < 2 and source.is_dir():
            raise ValueError(
                f"dataset.path must be a folder with at least 2 pictures ({', '.join(pictures.PATTERNS)}), "
                f"got {path} with {len(names)}"
            )
        lost = [name for name in names if not (source / name).exists()]  # the checksum does not count these links
        known = json.dumps([VERSION, path_checksum(source, pictures.PATTERNS), size, channels, skip_broken, *lost])
        key = hashlib.sha256(known.encode()).hexdigest()

        def build(write: Write) -> Arrays:
            if source.is_dir():
                return _of_folder(source, names, size, channels, skip_broken, write)
            return _of_file(source, size, channels, write)

        self.checksum = self.map_images("images", key, build)


def _of_folder(
    folder: Path, names: list[str], size: int | None, channels: int | None, skip_broken: bool, write: Write
) -> Arrays:
    classes = [name.partition("/")[0] if "/" in name else "" for name in names]
    if "" in classes and len(set(classes)) > 1:
        beside = names[classes.index("")]
        raise ValueError(
            f"{folder} must hold either pictures or folders of classes, got {beside} beside {max(classes)}/: "
            "move it into the folder of its class"
        )
    read = pictures.decode(folder, names, size=size, channels=channels, skip_broken=skip_broken, write=write)
    labels = [classes[i].encode(errors="replace").decode() for i in read.kept]
    if len(labels) < 2:
        raise ValueError(f"{folder} must hold at least 2 pictures that can be read, got {names[read.kept[0]]} only")
    return own_factors(np.array(labels)[:, None], ["class"]).arrays((len(labels), *read.shape))


def _of_file(path: Path, size: int | None, channels: int | None, write: Write) -> Arrays:
    stored, others = image_array.layout(path)
    count = stored.shape[0]
    if count < 2:
        raise ValueError(f"{path}: images must be at least 2, got {count}")
    if {"labels", "factors"} <= others:
        raise ValueError(f"{path} must have labels or factors, got both: leave one of them out")
    extras = array_file.read_arrays(path, image_array.ADVICE, set(image_array.BESIDE_IMAGES)) if others else {}
    key = "labels" if "labels" in extras else "factors"
    values = extras.get(key, np.empty((count, 0), np.int64))
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != count:
        raise ValueError(f"{path}: {key} must have {count:,} rows, one for each image, got {extras[key].shape}")
    plain = ["label"] if key == "labels" and values.shape[1] == 1 else [f"factor{k}" for k in range(values.shape[1])]
    names, classes = (
        extras[name].astype(str).ravel().tolist() if name in extras else [] for name in image_array.BESIDE_IMAGES[2:]
    )
    try:
        factors = own_factors(values, names or plain, classes)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return factors.arrays((count, *image_array.read(path, stored, size=size, channels=channels, write=write)))
