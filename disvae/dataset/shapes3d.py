"""3D Shapes from your own file: three hues x scale x shape x orientation (Burgess & Kim 2018)."""

from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from disvae.data import array_file
from disvae.data.checksum import kept_checksum
from disvae.data.factors import class_indices
from disvae.dataset import Dataset, Images

IMAGES = 480_000
BLOCK = 4_800  # images read at once, 59 MB
LATENTS = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")


class Shapes3D(Dataset):
    """The 480,000 colour images, 3 x 64 x 64, which take 5.9 GB of memory and are read by each run.

    `path` is 3dshapes.h5, which is in the public bucket 3d-shapes of Google Cloud Storage, or a file with its layout
    and fewer images: `images` uint8 (N, 64, 64, 3) and `labels` float64 (N, 6), the values of the factors.
    """

    def __init__(self, path: str | None) -> None:
        if path is None or not (file := Path(path).expanduser()).is_file():
            raise ValueError(
                f"dataset.path must be 3dshapes.h5 (from Google's public bucket 3d-shapes), got {path or 'none'}"
            )
        self.checksum = kept_checksum(file)
        labels = np.concatenate(list(array_file.blocks(file, "labels", "float64", (IMAGES, len(LATENTS)), IMAGES)))
        self.factors, self.factor_names, self.factor_sizes = class_indices(labels, LATENTS)
        self.images = Images(torch.from_numpy(_read(file, len(labels))), (3, 64, 64))


def _read(path: Path, count: int) -> np.ndarray:
    """Return the images of a file, uint8 (N, 3, 64, 64)."""
    images = np.empty((count, 3, 64, 64), dtype=np.uint8)
    done = 0
    with tqdm(total=count, desc="reading 3D Shapes", unit=" images", unit_scale=True, disable=None) as bar:
        for block in array_file.blocks(path, "images", "uint8", (count, 64, 64, 3), BLOCK):
            images[done : done + len(block)] = block.transpose(0, 3, 1, 2)
            done += len(block)
            bar.update(len(block))
    if done < count:
        raise ValueError(f"{path}: images must have {count:,} rows, one for each row of labels, got {done:,}")
    return images
