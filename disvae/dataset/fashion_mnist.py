"""Fashion-MNIST: grey images of ten kinds of clothes (Xiao et al. 2017), resized from 28 x 28 to 32 x 32."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from disvae.data import cache
from disvae.data.download import fetch
from disvae.dataset import Dataset, Images

URLS = (
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/",
)
FILES = {  # size in bytes and checksum by name
    "train-images-idx3-ubyte.gz": (
        26_421_880,
        "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": (29_515, "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    "t10k-images-idx3-ubyte.gz": (4_422_102, "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    "t10k-labels-idx1-ubyte.gz": (5_148, "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
}
CLASSES = 10


class FashionMNIST(Dataset):
    """The 60,000 training images, followed by the 10,000 official test images as the held-out split.

    The label is the factor. `path` is a folder with the four official .gz files; without it they are downloaded
    (31 MB). `resize` is "bilinear", as in Mathieu et al. 2019, or "pad", which adds a black border of two pixels.
    """

    def __init__(self, path: str | None = None, resize: Literal["bilinear", "pad"] = "bilinear") -> None:
        if resize not in ("bilinear", "pad"):
            raise ValueError(f"resize must be bilinear or pad, got {resize}")
        folder = _download() if path is None else Path(path).expanduser()
        train, test = (_split(folder, name) for name in ("train", "t10k"))
        images = torch.from_numpy(np.concatenate([train[0], test[0]])[:, None])  # (N, 1, 28, 28) uint8
        self.images = Images(F.pad(images, (2, 2, 2, 2)) if resize == "pad" else _bilinear(images), (1, 32, 32))
        self.factors = np.concatenate([train[1], test[1]]).astype(np.int64)[:, None]
        self.factor_names = ("class",)
        self.factor_sizes = (CLASSES,)
        self.held_out = np.arange(len(train[1]), len(self.factors))
        self.checksum = cache.content_checksum({"images": self.images.data.numpy(), "factors": self.factors})


def _download() -> Path:
    folder = cache.cache_folder() / "fashion-mnist"
    for name, (size, checksum) in FILES.items():
        fetch(
            [url + name for url in URLS],
            folder / name,
            size=size,
            checksum=checksum,
            otherwise="download the four .gz files elsewhere and type dataset.path=FOLDER; or use dataset=sprites",
        )
    return folder


def _split(folder: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images (n, 28, 28) and labels (n,) of the split "train" or "t10k"."""
    images = _idx(folder / f"{name}-images-idx3-ubyte.gz", (28, 28))
    labels = _idx(folder / f"{name}-labels-idx1-ubyte.gz", ())
    if len(images) != len(labels) or labels.max() >= CLASSES:
        raise ValueError(
            f"{folder}: expected as many labels below {CLASSES} as images in {name}, "
            f"found {len(labels):,} up to {labels.max()} for {len(images):,} images"
        )
    return images, labels


def _idx(path: Path, item: tuple[int, ...]) -> np.ndarray:
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
            f"{', '.join(FILES)}; without dataset.path they are downloaded"
        ) from error
    return np.frombuffer(data, dtype=np.uint8).reshape(count, *item)


def _bilinear(images: Tensor) -> Tensor:
    """Return images (N, 1, 28, 28) resized to (N, 1, 32, 32), uint8; antialias=True makes them round as in Pillow."""
    return F.interpolate(images, size=(32, 32), mode="bilinear", antialias=True)
