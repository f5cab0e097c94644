"""dSprites from the official file: shape x scale x orientation x posX x posY (Matthey et al. 2017)."""

import logging
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from disvae.data import array_file, cache
from disvae.data.checksum import file_checksum, kept_checksum
from disvae.data.download import fetch
from disvae.data.factors import class_indices
from disvae.dataset import Dataset, Images

log = logging.getLogger(__name__)

NAME = "dsprites_ndarray_co1sh3sc6or40x32y32_64x64"
URLS = tuple(
    f"https://raw.githubusercontent.com/{owner}/dsprites-dataset/master/{NAME}.hdf5"
    for owner in ("google-deepmind", "deepmind")
)
SIZE = 28_024_106
HDF5_SHA256 = "sha256:729fa22e884c9c500e1f17415d580746b4c5894fbbb780a1319bbcfa39a745bb"
NPZ_MD5 = "md5:7da33b31b13a06f4b04a70402ce90c2e"  # it was published without a SHA-256; no download is verified by it
IMAGES = 737_280
BLOCK = 23_040  # images read at once, 94 MB: one chunk of the official HDF5 file
LATENTS = ("color", "shape", "scale", "orientation", "posX", "posY")


class DSprites(Dataset):
    """The official 737,280 binary 64 x 64 images, downloaded (28 MB) unless `path` is given.

    `path` is an HDF5 or NPZ file with the official layout, which may hold fewer images. The factors are the columns of
    latents/classes that vary, so the colour is left out. The dataset `sprites` needs no download.
    """

    def __init__(self, path: str | None = None) -> None:
        checksum = HDF5_SHA256 if path is None else kept_checksum(_existing(path))
        kept, self.checksum = cache.build_once(
            cache.cache_folder() / f"dsprites-v1-{checksum.partition(':')[2][:16]}.npz",
            lambda: _pack(_download() if path is None else _existing(path)),
        )
        self.images = Images(torch.from_numpy(kept["images"]), (1, 64, 64))
        self.factors = kept["factors"]
        self.factor_names = tuple(kept["factor_names"].tolist())
        self.factor_sizes = tuple(kept["factor_sizes"].tolist())


def _existing(path: str) -> Path:
    if not (file := Path(path).expanduser()).is_file():
        raise ValueError(
            f"dataset.path must be a dSprites file (HDF5 or NPZ), got {path}; without dataset.path it is downloaded"
        )
    return file


def _download() -> Path:
    path = cache.cache_folder() / f"{NAME}.hdf5"
    return fetch(
        URLS,
        path,
        size=SIZE,
        checksum=HDF5_SHA256,
        otherwise=f"download it elsewhere and type dataset.path=FILE or save it as {path}; or use dataset=sprites",
    )


def _pack(path: Path) -> dict[str, np.ndarray]:
    """Return the images of a file with eight pixels in a byte (N, 512), and their factors."""
    classes = np.concatenate(list(array_file.blocks(path, "latents/classes", "int64", (IMAGES, len(LATENTS)), IMAGES)))
    factors = class_indices(classes, LATENTS)
    images = np.empty((len(classes), 512), dtype=np.uint8)
    if len(images) == IMAGES and not {file_checksum(path), file_checksum(path, "md5")} & {HDF5_SHA256, NPZ_MD5}:
        log.warning("%s has the size of dSprites but not the checksum of an official file; it is used anyway", path)
    log.info("packing %s (only once on this machine)", path)
    done = 0
    with tqdm(total=len(images), desc="packing dSprites", unit=" images", unit_scale=True, disable=None) as bar:
        for block in array_file.blocks(path, "imgs", "uint8", (IMAGES, 64, 64), BLOCK):
            if block.max() > 1 or done + len(block) > len(images):
                raise ValueError(
                    f"{path}: imgs must be {len(images):,} images with pixels 0 and 1, one for each row of classes"
                )
            images[done : done + len(block)] = np.packbits(block.reshape(len(block), -1), axis=1)
            done += len(block)
            bar.update(len(block))
    if done < len(images):
        raise ValueError(f"{path}: imgs must have {len(images):,} images, one for each row of classes, got {done:,}")
    return {
        "images": images,
        "factors": factors.classes,
        "factor_names": np.array(factors.names),
        "factor_sizes": np.array(factors.sizes),
    }
