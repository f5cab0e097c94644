"""A small file of 3dshapes.h5's layout comes out channel first, with its factor values as classes."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from disvae.data import image_array
from disvae.dataset import shapes3d
from disvae.dataset.shapes3d import Shapes3D

SIZES = (2, 3, 1, 2, 2, 2)
CLASSES = np.indices(SIZES).reshape(6, -1).T
VALUES = CLASSES * [0.1, 0.1, 0.1, 0.5 / 7, 1.0, 60 / 14] + [0, 0, 0, 0.75, 0, -30]
IMAGES = np.random.default_rng(0).integers(0, 256, (len(CLASSES), 64, 64, 3), dtype=np.uint8)


def write(path: Path, images: np.ndarray = IMAGES, labels: np.ndarray = VALUES) -> str:
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images)
        file.create_dataset("labels", data=labels)
    return str(path)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))


def test_images_are_channel_first_and_labels_classes(tmp_path, monkeypatch):
    monkeypatch.setattr(image_array, "BYTES_AT_ONCE", 7 * IMAGES[0].size)
    data = Shapes3D(write(tmp_path / "3dshapes.h5"))
    assert data.x_shape == (3, 64, 64)
    assert np.array_equal(data.images.data.numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert data.factor_names == (
        "floor_hue",
        "wall_hue",
        "scale",
        "shape",
        "orientation",
    )  # one object hue is no factor
    assert data.factor_sizes == (2, 3, 2, 2, 2)
    assert np.array_equal(data.factors, np.delete(CLASSES, 2, axis=1))
    x = data.images.take(torch.tensor([5]))
    assert torch.equal(x[0], torch.from_numpy(IMAGES[5]).permute(2, 0, 1) / 255)


def test_checksum_is_the_files(tmp_path):
    one, other = (Shapes3D(write(tmp_path / name, images)) for name, images in (("a", IMAGES), ("b", IMAGES ^ 1)))
    assert one.checksum != other.checksum


@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (IMAGES[:-1], VALUES, "images must have 48 rows, one for each row of labels, got 47"),
        (IMAGES, VALUES[:-1], "expected images to be uint8 .N <= 47, 64, 64, 3."),
        (IMAGES.transpose(0, 3, 1, 2), VALUES, "expected images to be uint8"),
        (IMAGES, CLASSES, "expected labels to be float64"),
    ],
)
def test_another_layout_is_refused(tmp_path, images, labels, said):
    with pytest.raises(ValueError, match=said):
        Shapes3D(write(tmp_path / "3dshapes.h5", images, labels))


def test_missing_file_says_where_it_comes_from(monkeypatch):
    with pytest.raises(ValueError, match=r"dataset.path must be 3dshapes.h5 \(from Google's public bucket 3d-shapes"):
        Shapes3D("/none.h5")
    monkeypatch.setattr(shapes3d, "URLS", ("http://127.0.0.1:9/file",))
    monkeypatch.setattr("disvae.data.download.PAUSE", 0)
    with pytest.raises(ConnectionError, match=r"dataset\.path=FILE or save it as .*; or use dataset=sprites"):
        Shapes3D()
