"""Small NORB: grey photographs of 50 toys, lit and seen from many sides (LeCun et al. 2004), resized to 64 x 64."""

import gzip
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from disvae.data import cache
from disvae.data.cache import Arrays, Write
from disvae.data.checksum import kept_checksum
from disvae.data.download import fetch
from disvae.data.factors import class_indices
from disvae.data.pictures import fitted
from disvae.dataset import Dataset

URL = "https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/"
TRAIN, TEST = "smallnorb-5x46789x9x18x6x2x96x96-training", "smallnorb-5x01235x9x18x6x2x96x96-testing"
FILES = {  # size in bytes and checksum by name
    f"{TRAIN}-dat.mat.gz": (
        131_896_188,
        "sha256:5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
    ),
    f"{TRAIN}-cat.mat.gz": (348, "sha256:2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa"),
    f"{TRAIN}-info.mat.gz": (71_052, "sha256:de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32"),
    f"{TEST}-dat.mat.gz": (130_799_817, "sha256:cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474"),
    f"{TEST}-cat.mat.gz": (347, "sha256:ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff"),
    f"{TEST}-info.mat.gz": (10_428, "sha256:16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2"),
}
BYTES, INTEGERS = 0x1E3D4C55, 0x1E3D4C54
"""First number of a matrix file, which says what it holds."""

IMAGES = 24_300
BLOCK = 1_000  # images read at once, 18 MB
LATENTS = ("category", "elevation", "azimuth", "lighting")
CATEGORIES = ("animal", "human", "airplane", "truck", "car")


class SmallNORB(Dataset):
    """The 48,600 grey images, 1 x 64 x 64, of the left camera: the official training and test images together.

    The ten toys of a category are not a factor, as in disentanglement_lib. `path` is a folder with the six official
    .gz files, or files with their layout and fewer images; without it they are downloaded (263 MB).
    """

    def __init__(self, path: str | None = None) -> None:
        folder = None if path is None else Path(path).expanduser()
        sums = {name: checksum if folder is None else _checksum(folder, name) for name, (_, checksum) in FILES.items()}
        self.checksum = cache.content_checksum({name: np.array(checksum) for name, checksum in sums.items()})
        self.map_images("smallnorb-v1", self.checksum, lambda write: _read(folder or _download(), write))
        if dict(zip(self.factor_names, self.factor_sizes, strict=True)).get("category") == len(CATEGORIES):
            self.class_names = {"category": CATEGORIES}


def _checksum(folder: Path, name: str) -> str:
    if not (folder / name).is_file():
        raise ValueError(
            f"dataset.path must be a folder with the six official files of small NORB, {name} is not in {folder}; "
            "without dataset.path they are downloaded"
        )
    return kept_checksum(folder / name)


def _download() -> Path:
    folder = cache.cache_folder() / "smallnorb"
    for name, (size, checksum) in FILES.items():
        fetch(
            [URL + name],
            folder / name,
            size=size,
            checksum=checksum,
            otherwise="download the six .gz files elsewhere and type dataset.path=FOLDER; or use dataset=sprites",
        )
    return folder


def _read(folder: Path, write: Write) -> Arrays:
    values = []
    for split in (TRAIN, TEST):
        (category,) = _matrix(folder / f"{split}-cat.mat.gz", INTEGERS, (), IMAGES)
        (info,) = _matrix(folder / f"{split}-info.mat.gz", INTEGERS, (4,), IMAGES)
        if len(category) != len(info):
            raise ValueError(f"{folder}: {split} has {len(category):,} categories for {len(info):,} rows of info")
        values.append(np.column_stack([category, info[:, 1:]]))  # without the toy
        done = 0
        with tqdm(total=len(info), desc=f"reading {split}", unit=" images", disable=None) as bar:
            for block in _matrix(folder / f"{split}-dat.mat.gz", BYTES, (2, 96, 96), BLOCK):
                write(np.stack([fitted(Image.fromarray(left), 64, 1) for left in block[:, 0]]))
                done += len(block)
                bar.update(len(block))
        if done != len(info):
            raise ValueError(f"{folder}: {split} has {done:,} images for {len(info):,} rows of info")
    factors = class_indices(np.concatenate(values), LATENTS)
    return factors.arrays((len(factors.classes), 1, 64, 64))


def _matrix(path: Path, kind: int, item: tuple[int, ...], block: int) -> Iterator[np.ndarray]:
    """Yield the rows (n, *item) of a gzipped matrix file in blocks: kind, axes, lengths (3 or more), values."""
    dtype = np.dtype("u1" if kind == BYTES else "<i4")
    expected = f"expected a matrix of {dtype} {('N', *item)} with at most {IMAGES:,} rows"
    try:
        with gzip.open(path) as file:
            axes = 1 + len(item)
            header = file.read(4 * (2 + max(3, axes)))
            magic, ndim, count, *rest = np.frombuffer(header, dtype="<i4").tolist()
            if magic != kind or ndim != axes or tuple(rest[: len(item)]) != item or not 1 <= count <= IMAGES:
                raise ValueError(f"{expected}, found header {header.hex()}")
            for start in range(0, count, block):
                rows = min(block, count - start)
                data = file.read(rows * prod(item) * dtype.itemsize)
                yield np.frombuffer(data, dtype).reshape(rows, *item)
            if file.read(1):  # gzip compares its checksum when a read reaches the end
                raise ValueError(f"{expected}, found more than {count:,} rows")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read ({error}): fetch it again, or name the right folder") from error
