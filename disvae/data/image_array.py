"""Images, and their factors of variation, in an NPZ, NPY or HDF5 file that a user wrote."""

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from disvae.data import array_file
from disvae.data.array_file import ONLY_ARRAY
from disvae.data.cache import Write
from disvae.data.pictures import fitted

ADVICE = (
    "dataset.path must be a folder of pictures, or an .npz, .npy or .h5 file with an array `images`; "
    "numpy.savez('images.npz', images=images) writes one"
)
BYTES_AT_ONCE = 1 << 25
"""Bytes of images that are read at once."""

LARGEST_IMAGE = 1 << 27
"""Bytes of the largest image; a side of 4,096 pixels with three channels takes 50 MB."""

BESIDE_IMAGES = ("labels", "factors", "factor_names", "class_names")
"""Arrays that may stand beside the images."""


class Layout(NamedTuple):
    """How the images of a file are stored."""

    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    channel_axis: int | None  # of one image: 0, 2, or None for (H, W)

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return 1 if self.channel_axis is None else self.shape[1 + self.channel_axis]


def layout(path: Path) -> tuple[Layout, set[str]]:
    """Return how the images of a file are stored, and the names of the other arrays.

    Raises:
        ValueError: the file has no array of images; the message says what it must hold.
    """
    found = array_file.declared(path, ADVICE)
    key = ONLY_ARRAY if ONLY_ARRAY in found else "images"
    if key not in found:
        raise ValueError(f"{path} must have an array `images`, got {', '.join(found) or 'nothing'}: name it images")
    shape, dtype = found[key]
    if not (dtype == np.uint8 or dtype.kind in "bf"):
        raise ValueError(
            f"{path}: images must be uint8, or floating-point numbers in [0, 1], got {dtype}: "
            "type images.astype('uint8') before you save them"
        )
    axis = None
    if shape is not None and len(shape) == 4:
        axis = 2 if shape[3] in (1, 3) else 0
    channels = 1 if axis is None else shape[1 + axis]
    if shape is None or len(shape) not in (3, 4) or channels not in (1, 3) or 0 in shape:
        raise ValueError(f"{path}: images must be (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, got {shape}")
    if prod(shape[1:]) * dtype.itemsize > LARGEST_IMAGE:
        raise ValueError(f"{path}: one image must have at most {LARGEST_IMAGE:,} bytes, got {shape[1:]} of {dtype}")
    return Layout(key, shape, dtype, axis), found.keys() - {key}


def read(path: Path, stored: Layout, *, size: int | None, channels: int | None, write: Write) -> tuple[int, ...]:
    """Pass the images of a file to `write` as blocks uint8 (n, C, H, W), and return their shape (C, H, W).

    The file is read twice: first to check the values. Floating-point numbers are rounded to 256 levels.

    Raises:
        ValueError: a value is not finite or out of range, or the file cannot be read.
    """
    scale = _scale(path, stored)
    channels = channels or stored.channels
    out: tuple[int, ...] = ()
    with tqdm(total=stored.shape[0], desc="reading images", unit=" images", unit_scale=True, disable=None) as bar:
        for block in _blocks(path, stored):
            levels = block if scale == 1 else np.rint(block * np.float32(scale)).astype(np.uint8)
            if size is None and channels == stored.channels:
                pixels = levels.transpose(0, 3, 1, 2)
            else:
                pictures = (Image.fromarray(each[..., 0] if each.shape[2] == 1 else each) for each in levels)
                pixels = np.stack([fitted(picture, size, channels) for picture in pictures])
            write(pixels)
            out = pixels.shape[1:]
            bar.update(len(block))
    return out


def copy(path: Path, shape: tuple[int, ...], write: Write) -> int:
    """Pass the array `images` of an official file to `write`, channel first, and return the number of images.

    It must be uint8 and have `shape`, of which the first entry, (N, H, W, C), is the largest N.
    """
    done = 0
    with tqdm(total=shape[0], desc=f"reading {path.name}", unit=" images", unit_scale=True, disable=None) as bar:
        for block in array_file.blocks(path, "images", "uint8", shape, max(1, BYTES_AT_ONCE // prod(shape[1:]))):
            write(block.transpose(0, 3, 1, 2))
            done += len(block)
            bar.update(len(block))
    return done


def _blocks(path: Path, stored: Layout) -> Iterator[np.ndarray]:
    """Yield the images in blocks (n, H, W, C)."""
    rows = max(1, BYTES_AT_ONCE // (prod(stored.shape[1:]) * stored.dtype.itemsize))
    for block in array_file.blocks(path, stored.key, stored.dtype.str, stored.shape, rows):
        if stored.channel_axis is None:
            yield block[..., None]
        else:
            yield block if stored.channel_axis == 2 else block.transpose(0, 2, 3, 1)


def _scale(path: Path, stored: Layout) -> int:
    """Return the factor that makes the values levels from 0 to 255, after a look at all of them."""
    if stored.dtype.kind == "b":
        return 255
    least, most = np.inf, -np.inf
    done = 0
    for block in _blocks(path, stored):
        if stored.dtype.kind == "f" and not (finite := np.isfinite(block)).all():
            at = done + int(np.argwhere(~finite)[0][0])
            value = block[~finite][0]
            raise ValueError(f"{path}: images must be finite, got {value} in image {at}: leave such images out")
        least, most = min(least, float(block.min())), max(most, float(block.max()))
        done += len(block)
    if stored.dtype == np.uint8:
        return 255 if most <= 1 else 1  # binary images, as in dSprites
    if least < 0 or most > 1:
        advice = "divide them by 255" if least >= 0 and most <= 255 else "rescale them"
        raise ValueError(f"{path}: floating-point images must be in [0, 1], got {least:g} to {most:g}: {advice}")
    return 255
