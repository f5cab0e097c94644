"""Small files of Cars3D's layout become a grid of cars, azimuths and elevations, resized by Pillow."""

import numpy as np
import pytest
from PIL import Image
from scipy import io

from disvae.dataset.cars3d import SHAPE, Cars3D

CARS = [np.random.default_rng(k).integers(0, 256, SHAPE, dtype=np.uint8) for k in range(2)]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "cars").mkdir()
    for k, car in enumerate(CARS):
        io.savemat(tmp_path / "cars" / f"car_00{k}_mesh.mat", {"im": car})
    return tmp_path / "cars"


def test_every_view_of_every_car_is_where_its_factors_say(folder):
    data = Cars3D(str(folder))
    assert data.factor_names == ("object_type", "azimuth", "elevation")
    assert data.factor_sizes == (2, 24, 4)
    assert data.images.data.shape == (192, 3, 64, 64)
    for row in (0, 5, 101, 191):
        car, azimuth, elevation = data.factors[row]
        view = Image.fromarray(np.ascontiguousarray(CARS[car][..., azimuth, elevation]))
        expected = np.asarray(view.resize((64, 64), Image.Resampling.LANCZOS)).transpose(2, 0, 1)
        assert np.array_equal(data.images.data[row].numpy(), expected)


def test_other_files_are_refused_in_one_line(folder, tmp_path):
    io.savemat(folder / "car_000_mesh.mat", {"im": CARS[0][:64]})
    with pytest.raises(ValueError, match=r"car_000_mesh.mat cannot be read \(expected im to be uint8"):
        Cars3D(str(folder))
    (folder / "car_000_mesh.mat").write_text("text")
    with pytest.raises(ValueError, match=r"car_000_mesh.mat cannot be read") as error:
        Cars3D(str(folder))
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=r"dataset.path must be the folder data/cars .* got none"):
        Cars3D()
    with pytest.raises(ValueError, match=f"got {tmp_path}"):
        Cars3D(str(tmp_path))
