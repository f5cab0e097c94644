"""Pictures in a folder as arrays of uint8: which files they are, how each is read, and what a broken one is."""

import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from disvae.data.cache import Write

log = logging.getLogger(__name__)

FORMATS = {"PNG": (".png",), "JPEG": (".jpg", ".jpeg"), "GIF": (".gif",), "BMP": (".bmp",), "WEBP": (".webp",)}
"""Formats that are read, with the endings of their names; Pillow tries no other decoder on a file."""

PATTERNS = tuple(f"*{suffix}" for suffixes in FORMATS.values() for suffix in suffixes)
BLOCK = 256
"""Number of pictures that are decoded before they are written."""

NAMED = 5
"""Largest number of broken pictures that a message names."""

GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
ORIENTATION = 0x0112
"""EXIF tag that says how a camera was held; from 5 on, width and height change places."""


_Result = TypeVar("_Result")


class Header(NamedTuple):
    """What the first bytes of a picture say: width, height, and whether it is grey."""

    width: int
    height: int
    grey: bool


class Decoded(NamedTuple):
    """Numbers of the pictures that could be read, in order, and the shape (C, H, W) of each."""

    kept: list[int]
    shape: tuple[int, int, int]


def decode(
    folder: Path, names: Sequence[str], *, size: int | None, channels: int | None, skip_broken: bool, write: Write
) -> Decoded:
    """Pass the pictures `names` of a folder to `write`, in order, as blocks uint8 (n, C, H, W).

    With `size`, the middle square of each picture is resized to size x size. Without `channels`, the pictures stay grey
    if all of them are.

    Raises:
        ValueError: pictures are broken and `skip_broken` is false, or they have several sizes and `size` is None.
    """
    broken: dict[int, str] = {}
    headers = dict(_each(folder, names, range(len(names)), _header, broken))
    _report(names, broken, skip_broken)
    if size is None:
        _one_size(names, headers)
    channels = channels or (1 if all(header.grey for header in headers.values()) else 3)
    first = next(iter(headers.values()))
    shape = (channels, size or first.height, size or first.width)
    kept: list[int] = []
    failed: dict[int, str] = {}
    block: list[np.ndarray] = []
    with tqdm(total=len(headers), desc="reading pictures", unit=" images", unit_scale=True, disable=None) as bar:
        for i, pixels in _each(folder, names, list(headers), partial(_pixels, size=size, channels=channels), failed):
            if pixels.shape != shape:
                failed[i] = f"{pixels.shape[2]} x {pixels.shape[1]} pixels after it is turned as EXIF says"
                continue
            kept.append(i)
            block.append(pixels)
            if len(block) == BLOCK:
                write(np.stack(block))
                bar.update(len(block))
                block = []
        if block:
            write(np.stack(block))
            bar.update(len(block))
    _report(names, failed, skip_broken)
    return Decoded(kept, shape)


def fitted(image: Image.Image, size: int | None, channels: int) -> np.ndarray:
    """Return an image of 8 bits as uint8 (C, H, W); with `size`, its middle square, resized with antialiasing."""
    image = image.convert("L" if channels == 1 else "RGB")
    if size is not None and image.size != (size, size):
        image = ImageOps.fit(image, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(image).reshape(image.height, image.width, channels).transpose(2, 0, 1)


def _each(
    folder: Path,
    names: Sequence[str],
    numbers: Sequence[int],
    read: Callable[[Image.Image], _Result],
    broken: dict[int, str],
) -> Iterator[tuple[int, _Result]]:
    """Yield number and result of `read` for the pictures `numbers`, and put the reasons of failures into `broken`."""

    def attempt(i: int) -> _Result | None:
        try:
            with Image.open(folder / names[i], formats=tuple(FORMATS)) as image:
                return read(image)
        except UnidentifiedImageError:
            broken[i] = f"not a picture ({', '.join(FORMATS)})"
        except (Image.DecompressionBombError, Image.DecompressionBombWarning):
            broken[i] = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        except FileNotFoundError:
            broken[i] = "a link to a file that is missing"
        except Exception as error:  # a damaged picture raises many kinds of errors
            broken[i] = " ".join(str(error).split()) or type(error).__name__
        return None

    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        warnings.simplefilter("ignore")  # of damaged metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # a picture of 90 megapixels and more is broken
        for start in range(0, len(numbers), BLOCK):
            some = numbers[start : start + BLOCK]
            for i, result in zip(some, threads.map(attempt, some), strict=True):
                if result is not None:
                    yield i, result


def _header(image: Image.Image) -> Header:
    width, height = image.size
    quick = image.format != "PNG" or "exif" in image.info  # otherwise getexif decodes the picture
    if quick and image.getexif().get(ORIENTATION, 1) >= 5:
        width, height = height, width
    return Header(width, height, image.mode in GREY)


def _pixels(image: Image.Image, size: int | None, channels: int) -> np.ndarray:
    """Return a picture as uint8 (C, H, W): turned as EXIF says, 16 bits as 8, and transparent parts white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # 16 bits: convert() would cut values above 255
        levels = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(np.rint(levels.clip(0, 255)).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return fitted(image, size, channels)


def _one_size(names: Sequence[str], headers: dict[int, Header]) -> None:
    """Raise ValueError, naming two pictures, unless all have one size."""
    (one, first), *others = headers.items()
    for other, header in others:
        if header[:2] != first[:2]:
            raise ValueError(
                f"pictures must have one size, got {names[one]} with {first.width} x {first.height} and {names[other]} "
                f"with {header.width} x {header.height}: type dataset.size=64"
            )


def _report(names: Sequence[str], broken: dict[int, str], skip: bool) -> None:
    """Name the broken pictures, in a warning if they are left out, or else in a ValueError."""
    if not broken:
        return
    said = ", ".join(f"{names[i]} ({broken[i]})" for i in sorted(broken)[:NAMED])
    more = f" and {len(broken) - NAMED:,} others" if len(broken) > NAMED else ""
    if len(broken) == len(names):
        raise ValueError(f"none of the {len(names):,} pictures can be read: {said}{more}")
    if not skip:
        raise ValueError(
            f"{len(broken):,} of {len(names):,} pictures cannot be read: {said}{more}; "
            "remove them, or type dataset.skip_broken=true to leave them out"
        )
    log.warning("%d of %d pictures cannot be read and are left out: %s%s", len(broken), len(names), said, more)
