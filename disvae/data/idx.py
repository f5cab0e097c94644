"""The four gzipped IDX files of MNIST and of sets with its layout: 28 x 28 grey images of ten classes."""

import gzip
import logging
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from disvae.data.cache import cache_folder
from disvae.data.checksum import kept_checksum
from disvae.data.download import fetch

log = logging.getLogger(__name__)

CLASSES = 10
Resize = Literal["bilinear", "pad"]
Files = Mapping[str, tuple[int, str]]
"""Size in bytes and checksum of each official file, by name."""


class LabelledImages(NamedTuple):
    """Training images, followed by test images."""

    images: Tensor  # (N, 1, 32, 32) uint8
    labels: np.ndarray  # (N,) int64
    train: int  # number of training images
    official: bool  # whether the files have the checksums of the official ones


def labelled_images(path: str | None, option: str, urls: Sequence[str], files: Files, resize: Resize) -> LabelledImages:
    """Return the images of dataset=`option`, 32 x 32, from the folder `path`, or downloaded from the folders `urls`.

    Files with other checksums than `files` are read with a warning, because every IDX set has files of these names.
    """
    if resize not in ("bilinear", "pad"):
        raise ValueError(f"resize must be bilinear or pad, got {resize}")
    folder = _download(option, urls, files) if path is None else Path(path).expanduser()
    train, test = (_split(folder, name, files) for name in ("train", "t10k"))
    official = path is None or all(kept_checksum(folder / name) == checksum for name, (_, checksum) in files.items())
    if not official:
        log.warning("%s does not hold the official files of %s; its images and labels are used anyway", folder, option)
    images = torch.from_numpy(np.concatenate([train[0], test[0]])[:, None])  # (N, 1, 28, 28) uint8
    images = F.pad(images, (2, 2, 2, 2)) if resize == "pad" else _bilinear(images)
    return LabelledImages(images, np.concatenate([train[1], test[1]]).astype(np.int64), len(train[1]), official)


def _download(option: str, urls: Sequence[str], files: Files) -> Path:
    folder = cache_folder() / option.replace("_", "-")
    for name, (size, checksum) in files.items():
        fetch(
            [url + name for url in urls],
            folder / name,
            size=size,
            checksum=checksum,
            otherwise="download the four .gz files elsewhere and type dataset.path=FOLDER; or use dataset=sprites",
        )
    return folder


def _split(folder: Path, name: str, files: Files) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, 28, 28) and labels (n,) of the split "train" or "t10k"."""
    images = _idx(folder / f"{name}-images-idx3-ubyte.gz", (28, 28), files)
    labels = _idx(folder / f"{name}-labels-idx1-ubyte.gz", (), files)
    if len(images) != len(labels) or labels.max() >= CLASSES:
        raise ValueError(
            f"{folder}: expected as many labels below {CLASSES} as images in {name}, "
            f"found {len(labels):,} up to {labels.max()} for {len(images):,} images"
        )
    return images, labels


def _idx(path: Path, item: tuple[int, ...], files: Files) -> np.ndarray:
    """Return the uint8 values (n, *item) of an IDX file: two zeros, 8 for uint8, number of axes, lengths, values."""
    expected = f"expected an IDX file of 1 to 100,000 items of uint8 {item}"
    try:
        with gzip.open(path) as file:
            header = file.read(4 * (2 + len(item)))
            magic, count, *rest = np.frombuffer(header, dtype=">u4").tolist()
            if magic != 0x800 + 1 + len(item) or tuple(rest) != item or not 1 <= count <= 100_000:
                raise ValueError(f"{expected}, found header {header.hex()}")
            size = count * int(np.prod(item, dtype=int))
            data = file.read(size + 1)  # gzip compares its checksum when a read reaches the end
            if len(data) != size:
                raise ValueError(f"{expected}, found {len(data):,} bytes or more for {size:,}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be read ({error}): dataset.path must be a folder with the four official files, "
            f"{', '.join(files)}; without dataset.path they are downloaded"
        ) from error
    return np.frombuffer(data, dtype=np.uint8).reshape(count, *item)


def _bilinear(images: Tensor) -> Tensor:
    """Return images (N, 1, 28, 28) resized to (N, 1, 32, 32), uint8; antialias=True makes them round as in Pillow."""
    return F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
