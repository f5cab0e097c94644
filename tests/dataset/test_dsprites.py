"""The official layout is read in blocks, whichever of the two formats it comes in, and anything else refused."""

import hashlib
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from disvae.data.cache import content_checksum
from disvae.dataset import dsprites
from disvae.dataset.dsprites import DSprites
from disvae.dataset.sprites import Sprites

SIZES = (1, 3, 2, 4, 2, 2)
CLASSES = np.indices(SIZES).reshape(6, -1).T
IMAGES = np.random.default_rng(0).integers(0, 2, (len(CLASSES), 64, 64), dtype=np.uint8)


def write_hdf5(path: Path, images: np.ndarray = IMAGES, classes: np.ndarray = CLASSES) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "imgs", data=images, chunks=(min(len(images), 23_040), 2, 4), compression="gzip", compression_opts=1
        )
        file.create_dataset("latents/classes", data=classes, compression="gzip")
        file.create_dataset("latents/values", data=classes.astype(float), compression="gzip")
    return path


def write_npz(path: Path, images: np.ndarray = IMAGES, classes: np.ndarray = CLASSES) -> Path:
    metadata = np.array({"author": "anyone"}, dtype=object)  # pickled in the official file, and never loaded
    np.savez_compressed(path, imgs=images, latents_classes=classes, latents_values=classes / 2, metadata=metadata)
    return path


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.mark.parametrize("write", [write_hdf5, write_npz])
def test_images_and_factors_are_those_of_the_file(tmp_path, write, monkeypatch):
    monkeypatch.setattr(dsprites, "BLOCK", 7)  # several blocks, the last not full
    data = DSprites(str(write(tmp_path / "file.npz")))
    assert np.array_equal(np.unpackbits(data.images.data.numpy(), axis=1).reshape(-1, 64, 64), IMAGES)
    assert data.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert data.factor_sizes == SIZES[1:]
    assert np.array_equal(data.factors, CLASSES[:, 1:])
    assert data.x_shape == (1, 64, 64)


def test_both_formats_have_one_checksum(tmp_path):
    paths = write_hdf5(tmp_path / "a.hdf5"), write_npz(tmp_path / "a.npz")
    assert len({DSprites(str(path)).checksum for path in paths}) == 1


def test_later_loads_read_the_packed_cache(tmp_path, monkeypatch):
    path = str(write_hdf5(tmp_path / "a.hdf5"))
    first = DSprites(path)
    monkeypatch.setattr(dsprites, "_pack", None)
    again = DSprites(path)
    assert again.checksum == first.checksum
    assert again.factor_names == first.factor_names
    assert again.factor_sizes == first.factor_sizes


def test_another_file_of_the_same_name_is_packed_anew(tmp_path):
    path = tmp_path / "a.hdf5"
    first = DSprites(str(write_hdf5(path)))
    assert DSprites(str(write_hdf5(path, 1 - IMAGES))).checksum != first.checksum


def test_real_images_of_the_subset(data_dir):
    data = DSprites(str(data_dir / "dsprites-subset" / "dsprites_grid_1x3x6x10x16x16.npz"))
    assert data.factor_sizes == (3, 6, 10, 16, 16)
    drawn = Sprites(orientations=10, positions=16)
    assert np.array_equal(data.factors, drawn.factors)
    different = np.bitwise_count(data.images.data.numpy() ^ drawn.images.data.numpy()).sum(axis=1)
    assert (different > 0).sum() <= 10


@pytest.mark.parametrize("write", [write_hdf5, write_npz])
@pytest.mark.parametrize(
    ("images", "classes", "said"),
    [
        (IMAGES * 2, CLASSES, "pixels 0 and 1"),
        (IMAGES[:-1], CLASSES, "imgs must have 96 images, one for each row of classes, got 95"),
        (IMAGES, CLASSES[:-1], "imgs must be 95 images"),
        (IMAGES.astype(np.float32), CLASSES, "expected imgs to be uint8"),
        (IMAGES[:, :32], CLASSES, "expected imgs to be uint8"),
        (IMAGES, CLASSES[:, 1:], "expected latents.classes to be int64"),
    ],
)
def test_another_layout_is_refused_in_one_line(tmp_path, write, images, classes, said):
    path = write(tmp_path / "a.npz", images, classes)
    with pytest.raises(ValueError, match=said) as error:
        DSprites(str(path))
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert not list((tmp_path / "cache").glob("*.npz"))


def test_missing_path_says_what_to_do():
    with pytest.raises(ValueError, match=r"dataset.path must be .*, got /none.hdf5; without dataset.path it"):
        DSprites("/none.hdf5")


def test_without_a_network_the_error_names_the_way_out(monkeypatch):
    monkeypatch.setattr(dsprites, "URLS", ("http://127.0.0.1:9/file",))
    monkeypatch.setattr("disvae.data.download.PAUSE", 0)
    with pytest.raises(ConnectionError, match=r"dataset\.path=FILE or save it as .*; or use dataset=sprites") as error:
        DSprites()
    assert "\n" not in str(error.value)


def test_file_put_where_the_download_would_be_is_taken(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    path = write_hdf5(tmp_path / "cache" / f"{dsprites.NAME}.hdf5")
    monkeypatch.setattr(dsprites, "HDF5_SHA256", f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}")
    assert len(DSprites().images) == len(IMAGES)
    path.unlink()
    assert len(DSprites().images) == len(IMAGES), "the packed cache is enough from then on"


def test_file_of_full_size_that_is_not_the_official_one_is_remarked_on(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(dsprites, "IMAGES", len(IMAGES))
    DSprites(str(write_hdf5(tmp_path / "a.hdf5")))
    assert "not the checksum of an official file" in caplog.text


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
@pytest.mark.parametrize("write", [write_hdf5, write_npz])
def test_a_large_file_is_packed_without_ever_being_in_memory_unpacked(tmp_path, write):
    drawn = Sprites(orientations=10)  # 755 MB unpacked
    classes = np.insert(drawn.factors, 0, 0, axis=1)
    path = write(tmp_path / "large.npz", np.unpackbits(drawn.images.data.numpy(), axis=1).reshape(-1, 64, 64), classes)
    code = """
import re, sys
from pathlib import Path
from disvae.dataset.dsprites import DSprites
data = DSprites(sys.argv[1])
print(data.checksum, int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
"""
    out = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    checksum, kilobytes = out.split()
    assert int(kilobytes) < 700_000
    kept = {"factor_names": drawn.factor_names, "factor_sizes": drawn.factor_sizes, "factors": drawn.factors}
    assert checksum == content_checksum(
        {"images": drawn.images.data.numpy(), **{k: np.array(v) for k, v in kept.items()}}
    )
