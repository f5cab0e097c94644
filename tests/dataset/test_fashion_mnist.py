"""The four IDX files become 32 x 32 images with their labels, the test split held out."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from disvae.data.checksum import file_checksum
from disvae.dataset import fashion_mnist
from disvae.dataset.fashion_mnist import FILES, FashionMNIST

RNG = np.random.default_rng(0)
IMAGES = {
    "train": RNG.integers(0, 256, (60, 28, 28), dtype=np.uint8),
    "t10k": RNG.integers(0, 256, (20, 28, 28), dtype=np.uint8),
}
LABELS = {"train": np.arange(60, dtype=np.uint8) % 10, "t10k": np.arange(20, dtype=np.uint8)[::-1] % 10}


def write(path: Path, magic: int, values: np.ndarray) -> None:
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(f">{1 + values.ndim}I", magic, *values.shape) + values.tobytes())


@pytest.fixture
def folder(tmp_path):
    for split in ("train", "t10k"):
        write(tmp_path / f"{split}-images-idx3-ubyte.gz", 2051, IMAGES[split])
        write(tmp_path / f"{split}-labels-idx1-ubyte.gz", 2049, LABELS[split])
    return tmp_path


def test_training_rows_come_first_and_test_rows_are_held_out(folder):
    data = FashionMNIST(str(folder), "pad")
    assert data.held_out.tolist() == list(range(60, 80))
    assert data.factors[:, 0].tolist() == [*LABELS["train"], *LABELS["t10k"]]
    assert (data.factor_names, data.factor_sizes) == (("class",), (10,))
    assert data.x_shape == (1, 32, 32)


def test_padding_keeps_the_pixels(folder):
    padded = FashionMNIST(str(folder), "pad").images.data.numpy()[:, 0]
    assert np.array_equal(padded[:60, 2:30, 2:30], IMAGES["train"])
    assert padded.sum() == IMAGES["train"].sum() + IMAGES["t10k"].sum()


def test_bilinear_resizing_is_that_of_pillow(folder):
    resized = FashionMNIST(str(folder)).images.data.numpy()[:60, 0]
    expected = [np.asarray(Image.fromarray(i).resize((32, 32), Image.Resampling.BILINEAR)) for i in IMAGES["train"]]
    assert np.array_equal(resized, expected)


def test_the_two_ways_have_different_checksums(folder):
    assert FashionMNIST(str(folder)).checksum != FashionMNIST(str(folder), "pad").checksum


def test_official_files_have_seven_thousand_of_each_class(data_dir):
    data = FashionMNIST(str(data_dir / "fashion-mnist"))
    assert len(data.images) == 70_000
    assert np.bincount(data.factors[:, 0]).tolist() == [7_000] * 10
    assert np.bincount(data.factors[data.held_out, 0]).tolist() == [1_000] * 10
    assert data.images.data[:60_000].double().mean().item() / 255 == pytest.approx(0.2860, abs=2e-3)


def test_official_files_have_the_published_checksums(data_dir):
    for name, (size, checksum) in FILES.items():
        path = data_dir / "fashion-mnist" / name
        assert path.stat().st_size == size
        assert file_checksum(path) == checksum


def refusal(folder: Path) -> str:
    with pytest.raises(ValueError, match=str(folder)) as error:
        FashionMNIST(str(folder))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refusal(folder)
    assert "without dataset.path they are downloaded" in refusal(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.95])
def test_cut_file_is_refused(folder, name, share):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(share * len(whole))])
    assert name in refusal(folder)


def test_flipped_bytes_are_refused_or_harmless(folder):
    path = folder / "t10k-images-idx3-ubyte.gz"
    whole, checksum = path.read_bytes(), FashionMNIST(str(folder)).checksum
    refused = 0
    for at in RNG.choice(len(whole), 40, replace=False).tolist():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert FashionMNIST(str(folder)).checksum == checksum
        except ValueError:
            refused += 1
    assert refused >= 35


@pytest.mark.parametrize(
    ("magic", "values", "said"),
    [
        (2049, IMAGES["train"], "found header 00000801"),
        (2051, IMAGES["train"][:, :27], "found header"),
        (2051, IMAGES["train"][:0], "found header"),
        (2051, IMAGES["train"][:59], "as many labels below 10 as images in train, found 60 up to 9 for 59 images"),
    ],
)
def test_other_images_are_refused(folder, magic, values, said):
    write(folder / "train-images-idx3-ubyte.gz", magic, values)
    assert said in refusal(folder)


def test_labels_beyond_the_classes_are_refused(folder):
    write(folder / "train-labels-idx1-ubyte.gz", 2049, LABELS["train"] + 1)
    assert "found 60 up to 10" in refusal(folder)


def test_more_values_than_declared_are_refused(folder):
    path = folder / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"\0"))
    assert "61 bytes" in refusal(folder)


def test_without_a_network_the_error_names_the_way_out(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(fashion_mnist, "URLS", ("http://127.0.0.1:9/",))
    monkeypatch.setattr("disvae.data.download.PAUSE", 0)
    with pytest.raises(ConnectionError, match=r"dataset\.path=FOLDER; or use dataset=sprites"):
        FashionMNIST()


def test_unknown_way_of_resizing_is_refused(folder):
    with pytest.raises(ValueError, match="resize must be bilinear or pad, got nearest"):
        FashionMNIST(str(folder), "nearest")
