"""Small files of small NORB's layout: the left camera's images with category, elevation, azimuth and lighting."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disvae.dataset import smallnorb
from disvae.dataset.smallnorb import BYTES, FILES, INTEGERS, TEST, TRAIN, SmallNORB

RNG = np.random.default_rng(0)
IMAGES = {split: RNG.integers(0, 256, (10, 2, 96, 96), dtype=np.uint8) for split in (TRAIN, TEST)}
CATEGORY = np.arange(10) % 5
INFO = np.stack([np.arange(10), np.arange(10) % 3, np.arange(10) % 2 * 34, np.arange(10) // 5], axis=1)


def write(path: Path, magic: int, values: np.ndarray) -> None:
    lengths = [*values.shape, 1, 1][: max(3, values.ndim)]
    data = values.astype("u1" if magic == BYTES else "<i4").tobytes()
    path.write_bytes(gzip.compress(struct.pack(f"<{2 + len(lengths)}i", magic, values.ndim, *lengths) + data, 1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(smallnorb, "BLOCK", 4)
    for split, images in IMAGES.items():
        write(tmp_path / f"{split}-dat.mat.gz", BYTES, images)
        write(tmp_path / f"{split}-cat.mat.gz", INTEGERS, CATEGORY)
        write(tmp_path / f"{split}-info.mat.gz", INTEGERS, INFO)
    return tmp_path


def test_images_of_both_files_with_their_factors(folder):
    data = SmallNORB(str(folder))
    assert (data.factor_names, data.factor_sizes) == (("category", "elevation", "azimuth", "lighting"), (5, 3, 2, 2))
    assert data.factors[:10].tolist() == data.factors[10:].tolist()
    assert data.factors[9].tolist() == [4, 0, 1, 1]
    assert data.class_names["category"][4] == "car"
    assert data.images.data.shape == (20, 1, 64, 64)
    expected = Image.fromarray(IMAGES[TEST][3, 0]).resize((64, 64), Image.Resampling.LANCZOS)
    assert np.array_equal(data.images.data[13, 0].numpy(), np.asarray(expected))


@pytest.mark.parametrize(
    ("name", "magic", "values", "said"),
    [
        (f"{TRAIN}-dat.mat.gz", INTEGERS, IMAGES[TRAIN], "found header"),
        (f"{TRAIN}-dat.mat.gz", BYTES, IMAGES[TRAIN][:9], "has 9 images for 10 rows of info"),
        (f"{TEST}-cat.mat.gz", INTEGERS, CATEGORY[:9], "has 9 categories for 10 rows of info"),
        (f"{TEST}-info.mat.gz", INTEGERS, INFO[:, :3], "found header"),
    ],
)
def test_another_layout_is_refused(folder, name, magic, values, said):
    write(folder / name, magic, values)
    with pytest.raises(ValueError, match=said):
        SmallNORB(str(folder))


def test_a_cut_or_missing_file_is_named(folder):
    path = folder / f"{TRAIN}-dat.mat.gz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=f"{path.name} cannot be read"):
        SmallNORB(str(folder))
    path.unlink()
    with pytest.raises(ValueError, match=f"{path.name} is not in {folder}; without dataset.path"):
        SmallNORB(str(folder))


def test_the_official_files_have_the_published_size():
    assert sum(size for size, _ in FILES.values()) == 262_778_180
