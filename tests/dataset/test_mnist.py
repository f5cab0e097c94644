"""Small files of MNIST's layout; files that are not the official ones are used, and that is said."""

import gzip
import struct

import numpy as np

from disvae.data.checksum import file_checksum
from disvae.dataset.fashion_mnist import NAMES, FashionMNIST
from disvae.dataset.mnist import FILES, MNIST

RNG = np.random.default_rng(0)


def write(folder) -> str:
    for name in FILES:
        n = 30 if name.startswith("train") else 10
        shape, magic = ((n, 28, 28), 2051) if "images" in name else ((n,), 2049)
        values = RNG.integers(0, 10, shape, dtype=np.uint8)
        (folder / name).write_bytes(gzip.compress(struct.pack(f">{1 + len(shape)}I", magic, *shape) + values.tobytes()))
    return str(folder)


def test_digits_have_a_border_and_the_test_images_are_held_out(tmp_path):
    data = MNIST(write(tmp_path))
    assert data.x_shape == (1, 32, 32)
    assert not data.images.data[:, :, :2].any()
    assert data.images.data[:, :, 2:30, 2:30].any()
    assert (data.factor_names, data.factor_sizes) == (("digit",), (10,))
    assert data.held_out.tolist() == list(range(30, 40))


def test_files_of_another_set_are_named_and_get_no_class_names(tmp_path, caplog, monkeypatch):
    data = FashionMNIST(write(tmp_path))
    assert f"{tmp_path} does not hold the official files of fashion_mnist" in caplog.text
    assert data.class_names == {}
    official = {name: (0, file_checksum(tmp_path / name)) for name in FILES}
    monkeypatch.setattr("disvae.dataset.fashion_mnist.FILES", official)
    caplog.clear()
    assert FashionMNIST(str(tmp_path)).class_names == {"class": NAMES}
    assert NAMES[7] == "sneaker"
    assert not caplog.text
