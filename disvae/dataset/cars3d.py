"""Cars3D from your files: drawings of 183 cars, 24 azimuths and 4 elevations (Reed et al. 2015), resized to 64 x 64."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy import io
from tqdm import tqdm

from disvae.data import cache
from disvae.data.cache import Arrays, Write
from disvae.data.checksum import kept_checksum
from disvae.data.factors import class_indices
from disvae.data.pictures import fitted
from disvae.dataset import Dataset

LATENTS = ("object_type", "azimuth", "elevation")
SHAPE = (128, 128, 3, 24, 4)
"""Shape of the array `im` of a car: height, width, channels, azimuths, elevations."""


class Cars3D(Dataset):
    """The 17,568 colour images, 3 x 64 x 64, of the analogy data: a file for each car, in alphabetical order.

    `path` is the folder data/cars of nips2015-analogy-data.tar.gz, from scottreed.info, or one with fewer of its .mat
    files. Images are resized as in disentanglement_lib.
    """

    def __init__(self, path: str | None = None) -> None:
        files = [] if path is None else sorted(Path(path).expanduser().glob("[!.]*.mat"))
        if not files:
            raise ValueError(
                "dataset.path must be the folder data/cars with the .mat files of nips2015-analogy-data.tar.gz (from "
                f"http://www.scottreed.info), got {path or 'none'}"
            )
        self.checksum = cache.content_checksum({file.name: np.array(kept_checksum(file)) for file in files})
        self.map_images("cars3d-v1", self.checksum, lambda write: _read(files, write))


def _read(files: list[Path], write: Write) -> Arrays:
    for file in tqdm(files, desc="reading Cars3D", unit=" cars", disable=None):
        images = _car(file).transpose(3, 4, 0, 1, 2).reshape(-1, *SHAPE[:3])
        write(np.stack([fitted(Image.fromarray(image), 64, 3) for image in images]))
    sizes = (len(files), *SHAPE[3:])
    return class_indices(np.indices(sizes).reshape(3, -1).T, LATENTS).arrays((len(files) * 96, 3, 64, 64))


def _car(file: Path) -> np.ndarray:
    """Return the array `im` of a .mat file, whose declaration is checked before it is read."""
    try:
        found = {name: (shape, kind) for name, shape, kind in io.whosmat(file)}
        if found.get("im") != (SHAPE, "uint8"):
            raise ValueError(f"expected im to be uint8 {SHAPE}, found {found}")
        images: np.ndarray = io.loadmat(file, variable_names=["im"])["im"]
    except Exception as error:  # a damaged file raises many kinds of errors
        reason = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read ({reason}): fetch it again, or name the right folder") from error
    return images
