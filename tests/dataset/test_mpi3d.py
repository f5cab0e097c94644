"""A small file of MPI3D's layout comes out channel first, with the grid of its factors."""

import numpy as np
import pytest

from disvae.data import image_array
from disvae.dataset import mpi3d
from disvae.dataset.mpi3d import MPI3D

SIZES = (2, 3, 1, 1, 1, 2, 2)
IMAGES = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(image_array, "BYTES_AT_ONCE", 7 * IMAGES[0].size)  # several blocks, the last not full


def test_images_are_in_the_order_of_the_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(mpi3d, "GRIDS", (SIZES,))
    np.savez(tmp_path / "mpi3d_toy.npz", images=IMAGES)
    data = MPI3D(str(tmp_path / "mpi3d_toy.npz"))
    assert data.x_shape == (3, 64, 64)
    assert np.array_equal(data.images.data.numpy(), IMAGES.transpose(0, 3, 1, 2))
    assert data.factor_names == ("object_color", "object_shape", "horizontal_axis", "vertical_axis")
    assert data.factor_sizes == (2, 3, 2, 2)
    assert np.array_equal(data.factors, np.indices((2, 3, 2, 2)).reshape(4, -1).T)
    np.savez(tmp_path / "mpi3d_real.npz", images=IMAGES ^ 1)
    assert MPI3D(str(tmp_path / "mpi3d_real.npz")).checksum != data.checksum


def test_the_published_grids_have_the_published_numbers_of_images():
    assert [np.prod(sizes) for sizes in mpi3d.GRIDS] == [1_036_800, 460_800]


def test_another_file_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", images=IMAGES)
    with pytest.raises(ValueError, match=r"1,036,800 or 460,800 images, got \(24, 64, 64, 3\)"):
        MPI3D(str(tmp_path / "a.npz"))
    np.savez(tmp_path / "b.npz", x=IMAGES)
    with pytest.raises(ValueError, match="got no images"):
        MPI3D(str(tmp_path / "b.npz"))
    with pytest.raises(ValueError, match=r"dataset.path must be mpi3d_toy.npz, .* got none"):
        MPI3D()
