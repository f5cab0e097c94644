"""Datasets: images in memory, and the factors of variation that generated them."""

from abc import ABC
from collections.abc import Callable, Mapping, Sequence
from math import prod
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from disvae.data import cache
from disvae.data.cache import Arrays, Write


class Images:
    """N images of one shape in one tensor, read by index as float32.

    `data` is uint8 (N, ceil(C * H * W / 8)) for binary images with eight pixels in a byte (order of numpy.packbits),
    uint8 (N, C, H, W) for grey or colour images, or float32 (N, C, H, W) for points, which are not pictures.
    """

    def __init__(self, data: Tensor, x_shape: Sequence[int]) -> None:
        self.data = data
        self.x_shape: tuple[int, ...] = tuple(x_shape)
        self.bit_packed = data.dtype == torch.uint8 and data.dim() == 2
        row = (-(-prod(self.x_shape) // 8),) if self.bit_packed else self.x_shape
        if tuple(data.shape[1:]) != row:
            raise ValueError(f"images must be (N, {', '.join(map(str, row))}), got {tuple(data.shape)}")
        pixels = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8): pixels of each byte
        # The eight pixels are stored as one integer, so that a byte needs a single look-up.
        self._unpacked = torch.from_numpy(pixels.view(np.int64)[:, 0]).to(data.device)

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: torch.device | str) -> "Images":
        """Return a copy of the images on another device."""
        return Images(self.data.to(device), self.x_shape)

    def take(self, index: Tensor) -> Tensor:
        """Return the images at `index` (B,) as float32 (B, C, H, W), with pixels in [0, 1]."""
        rows = self.data.index_select(0, index.to(self.data.device))
        if self.bit_packed:
            pixels = self._unpacked.index_select(0, rows.flatten().int()).view(torch.uint8)
            bits = pixels.view(len(rows), 8 * rows.shape[1])[:, : prod(self.x_shape)]
            return bits.float().view(len(rows), *self.x_shape)
        return rows.float().div_(255) if rows.dtype == torch.uint8 else rows


def check_images(images: Images) -> None:
    """Raise ValueError unless float images are finite and pictures, which points are not, are not in 0 to 255."""
    data = images.data
    if not data.is_floating_point():
        return
    bad = (~data.isfinite()).flatten(1).any(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise ValueError(
            f"images must be finite, got NaN or infinity in {int(bad.sum()):,} of {len(data):,}, first in image {row}: "
            "repair or leave out these rows"
        )
    if len(data) and min(data.shape[2:]) > 1 and data.min() >= 0 and data.max() > 1:
        raise ValueError(
            f"float images must be in [0, 1], got values up to {float(data.max()):g}: divide them by 255, "
            "or pass them as uint8"
        )


class Dataset(ABC):
    """Images with their factors of variation; the constructor of a subclass reads or draws them.

    `factors` (N, K) holds class indices: factors[i, k] in [0, factor_sizes[k]) is the class of image i in factor k.
    K = 0 means that no factors are known. A continuous factor keeps its values, as floating-point numbers, and has
    size 0. `class_names` holds the names of a factor's classes, if they have names, by the factor's name. `held_out`
    holds the rows of an official test split; with None the split is drawn by seed. `checksum` identifies the content
    and is stored in the provenance of a run.
    """

    images: Images
    factors: np.ndarray
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    class_names: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    checksum: str
    held_out: np.ndarray | None = None

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Return the shape (C, H, W) of one image."""
        return self.images.x_shape

    def map_images(self, name: str, key: str, build: Callable[[Write], Arrays]) -> str:
        """Take images and factors from the cache folder, where `build` writes them once, and return their checksum.

        `key` is a hash that identifies what they are made of. The images are mapped into memory, so they may be larger.
        """
        path = cache.cache_folder() / f"{name}-{key.removeprefix('sha256:')[:16]}.npz"
        pixels, arrays, checksum = cache.map_once(path, build)
        self.images = Images(torch.from_numpy(pixels), pixels.shape[1:])
        self.factors = arrays["factors"]
        self.factor_names = tuple(arrays["factor_names"].tolist())
        self.factor_sizes = tuple(arrays["factor_sizes"].tolist())
        named = [(k, f"classes{k}") for k in range(len(self.factor_names)) if f"classes{k}" in arrays]
        self.class_names = {self.factor_names[k]: tuple(arrays[classes].tolist()) for k, classes in named}
        return checksum
