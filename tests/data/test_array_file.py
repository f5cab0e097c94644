"""A file that is not what it should be is refused in one line, before its rows are read and without its memory."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from disvae.data import array_file

ROWS = 50
IMAGES = np.random.default_rng(0).integers(0, 2, (ROWS, 64, 64), dtype=np.uint8)
CLASSES = np.arange(ROWS * 6).reshape(ROWS, 6)


def read(path: Path, key: str = "imgs", dtype: str = "uint8", shape: tuple[int, ...] = (ROWS, 64, 64), block: int = 7):
    return list(array_file.blocks(path, key, dtype, shape, block))


both = pytest.mark.parametrize("whole", [False, True], ids=["blocks", "whole"])


@pytest.fixture
def hdf5(tmp_path):
    path = tmp_path / "d.hdf5"
    with h5py.File(path, "w") as file:
        file.create_dataset("imgs", data=IMAGES, chunks=(10, 2, 4), compression="gzip", fletcher32=True)
        file.create_dataset("latents/classes", data=CLASSES, compression="gzip", fletcher32=True)
    return path


@pytest.fixture
def npz(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, imgs=IMAGES, latents_classes=np.asfortranarray(CLASSES))
    return path


@pytest.fixture(params=["hdf5", "npz"])
def path(request):
    return request.getfixturevalue(request.param)


def refusal(path: Path, whole: bool = False, **changes: object) -> str:
    """Return what is said of a file, read as images in blocks or, with `whole`, all at once."""
    with pytest.raises(ValueError, match="cannot be read") as error:
        array_file.read_arrays(path) if whole else read(path, **changes)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert message.endswith("fetch it again, or name the right file")
    return message


def test_blocks_are_the_array_in_order(path):
    blocks = read(path)
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    assert np.array_equal(np.concatenate(blocks), IMAGES)


def test_a_whole_file_is_every_array_by_its_name(path, request):
    found = array_file.read_arrays(path)
    classes = "latents/classes" if path.suffix == ".hdf5" else "latents_classes"
    assert found.keys() == {"imgs", classes}
    assert np.array_equal(found["imgs"], IMAGES)
    assert np.array_equal(found[classes], CLASSES)
    assert found["imgs"].flags.writeable


def test_group_that_holds_itself_is_read_once(hdf5):
    with h5py.File(hdf5, "a") as file:
        file["latents/all"] = file["/"]
    assert array_file.read_arrays(hdf5).keys() == {"imgs", "latents/classes"}


def test_nested_key_is_the_underscored_one_of_an_npz(path):
    (classes,) = read(path, "latents/classes", "int64", (ROWS, 6), ROWS)
    assert np.array_equal(classes, CLASSES)


def test_fortran_order_is_read_in_one_block_only(npz):
    assert "C order" in refusal(npz, key="latents/classes", dtype="int64", shape=(ROWS, 6), block=10)


def test_missing_file_is_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.hdf5")


@both
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_another_kind_of_file_is_refused(tmp_path, content, whole):
    (tmp_path / "f").write_bytes(content)
    refusal(tmp_path / "f", whole)


@both
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_cut_file_is_refused(path, share, whole):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refusal(path, whole)


@both
def test_forty_flipped_bytes_are_refused_or_harmless(path, whole):
    content = path.read_bytes()
    refused = 0
    for at in np.random.default_rng(0).choice(len(content), 40, replace=False).tolist():
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            found = array_file.read_arrays(path).get("imgs", IMAGES) if whole else np.concatenate(read(path))
            assert np.array_equal(found, IMAGES), f"byte {at} was read wrong without a word"
        except ValueError:
            refused += 1
    assert refused >= 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"key": "pictures"}, "expected an array pictures, found"),
        ({"dtype": "float32"}, "expected imgs to be float32 (N <= 50, 64, 64), found uint8 (50, 64, 64)"),
        ({"shape": (ROWS, 64, 64, 3)}, "(N <= 50, 64, 64, 3), found uint8 (50, 64, 64)"),
        ({"shape": (ROWS, 32, 32)}, "(N <= 50, 32, 32), found uint8 (50, 64, 64)"),
        ({"shape": (ROWS - 1, 64, 64)}, "N <= 49"),
    ],
)
def test_other_key_type_or_shape_is_said_against_what_was_expected(path, changes, said):
    assert said in refusal(path, **changes)


def test_array_that_is_a_group_is_refused(hdf5):
    assert "expected an array latents, found only classes" in refusal(hdf5, key="latents")
    assert "expected an array imgs/classes, found nothing" in refusal(hdf5, key="imgs/classes")


@pytest.mark.parametrize("link", [h5py.ExternalLink("other.hdf5", "imgs"), h5py.SoftLink("/real")])
@pytest.mark.parametrize("key", ["imgs", "group/imgs"])
def test_links_are_not_followed(tmp_path, link, key):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["imgs"] = IMAGES
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["real"] = IMAGES
        file[key] = link
    assert "found a link" in refusal(tmp_path / "d.hdf5", key=key)
    assert f"expected {key} inside the file, found a link" in refusal(tmp_path / "d.hdf5", whole=True)


@both
def test_values_kept_in_other_files_are_not_read(tmp_path, whole):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(ROWS * 64 * 64))
    with h5py.File(tmp_path / "external.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    assert "reference to other files" in refusal(tmp_path / "external.hdf5", whole)
    layout = h5py.VirtualLayout(IMAGES.shape, "uint8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "external.hdf5"), "imgs", IMAGES.shape)
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        file.create_virtual_dataset("imgs", layout)
    assert "reference to other files" in refusal(tmp_path / "virtual.hdf5", whole)


@both
def test_declared_but_never_stored_values_are_refused(tmp_path, whole):
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8", chunks=(10, 64, 64))
    assert "found no sound chunk at (0, 0, 0)" in refusal(tmp_path / "d.hdf5", whole)
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8")
    assert "expected 204,800 bytes of imgs, found 0)" in refusal(tmp_path / "d.hdf5", whole)


@both
def test_objects_are_not_unpickled(tmp_path, whole):
    np.savez(tmp_path / "d.npz", imgs=np.array([print] * ROWS, dtype=object))
    assert "found object" in refusal(tmp_path / "d.npz", whole)


@both
def test_more_values_than_declared_are_refused(tmp_path, whole):
    np.savez(tmp_path / "d.npz", imgs=IMAGES)
    with zipfile.ZipFile(tmp_path / "d.npz") as archive:
        content = archive.read("imgs.npy")
    declares = "bytes of imgs.npy, it declares 204,"
    for change, said in ((content + b"\0", "found more"), (content[:-1], "more bytes, found")):
        with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
            archive.writestr("imgs.npy", change)
        assert (declares if whole else said) in refusal(tmp_path / "d.npz", whole)


def hdf5_of(path: Path, **arrays: object) -> Path:
    """Write arrays, or datasets from the arguments of create_dataset."""
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file.create_dataset(name, **(value if isinstance(value, dict) else {"data": value}))
    return path


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ({"shape": (2,), "dtype": h5py.vlen_dtype("f8")}, "numbers or strings in codes, found object"),
        ({"shape": (2,), "dtype": h5py.ref_dtype}, "numbers or strings in codes, found object"),
        ({"data": np.zeros(2, [("a", "f8")])}, "numbers or strings in codes, found [('a', '<f8')]"),
        ({"data": h5py.Empty("f8")}, "numbers or strings in codes, found float64 of shape None"),
        ({"shape": (10_001,), "dtype": h5py.string_dtype()}, "at most 10,000 strings in codes, found 10,001"),
        ({"data": "x" * 1_001}, "strings of at most 1,000 characters in codes, found 1,001"),
        (
            {"shape": (1,), "dtype": h5py.string_dtype(), "chunks": (1 << 20,), "maxshape": (None,)},
            "codes in chunks of at most 1,048,576 bytes, found (1048576,)",
        ),
        (
            {"shape": (5, 2), "dtype": "f8", "chunks": (1 << 25, 2), "maxshape": (None, 2)},
            "codes in chunks of at most 268,435,456 bytes, found (33554432, 2)",
        ),
    ],
)
def test_what_is_no_array_of_numbers_or_short_strings_is_refused(tmp_path, dataset, said):
    assert f"expected {said}" in refusal(hdf5_of(tmp_path / "d.hdf5", codes=dataset), whole=True)


def test_more_than_a_hundred_bytes_for_one_of_the_file_are_refused(tmp_path, monkeypatch):
    values = np.zeros((1000, 100))  # 800,000 bytes
    np.savez_compressed(tmp_path / "d.npz", codes=values)
    zipped = hdf5_of(tmp_path / "d.hdf5", codes={"data": values, "compression": "gzip", "chunks": (1000, 100)})
    for path in (tmp_path / "d.npz", zipped):
        assert np.array_equal(array_file.read_arrays(path)["codes"], values), (
            "as little is read however well it is compressed"
        )
    monkeypatch.setattr(array_file, "ALWAYS_READ", 100_000)
    said = (
        r"found 800,\d+ bytes of arrays in a file of \d,\d+, more than 100 times as many: write it without compression"
    )
    for path in (tmp_path / "d.npz", zipped):
        assert re.search(said, refusal(path, whole=True))
    np.savez(tmp_path / "d.npz", codes=values)
    assert np.array_equal(array_file.read_arrays(tmp_path / "d.npz")["codes"], values)
    monkeypatch.setattr(array_file, "LARGEST_ARRAYS", 700_000)
    assert "expected at most 700,000 bytes of arrays, found 800," in refusal(tmp_path / "d.npz", whole=True)


def test_one_array_under_many_names_counts_as_often(tmp_path, monkeypatch):
    monkeypatch.setattr(array_file, "ALWAYS_READ", 100_000)
    path = hdf5_of(tmp_path / "d.hdf5", codes=np.zeros((100, 100)))
    with h5py.File(path, "a") as file:
        for k in range(1000):
            file[f"controls/{k}"] = file["codes"]
    assert "found 80,080,000 bytes of arrays in a file of" in refusal(path, whole=True)


def test_directory_of_a_zip_that_lies_of_its_sizes_is_not_believed(tmp_path):
    np.savez(tmp_path / "d.npz", codes=np.zeros((10, 10)))
    content = (tmp_path / "d.npz").read_bytes()
    true = (800 + 128).to_bytes(4, "little")
    assert content.count(true) == 4, "as stored and as zipped size, before the array and in the directory"
    (tmp_path / "d.npz").write_bytes(content.replace(true, (12 * 10**8).to_bytes(4, "little")))
    assert "found 1,200,000,000 bytes of arrays in a file of" in refusal(tmp_path / "d.npz", whole=True)


@both
def test_header_that_may_have_four_gigabytes_is_refused(tmp_path, whole):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive, archive.open("imgs.npy", "w") as file:
        np.lib.format.write_array(file, IMAGES, version=(2, 0))
    assert "expected a .npy array of version 1.0, found 2.0" in refusal(tmp_path / "d.npz", whole)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_a_terabyte_declared_costs_no_memory(tmp_path):
    with h5py.File(tmp_path / "rows.hdf5", "w") as file:
        file.create_dataset("imgs", (2**28, 64, 64), "uint8", chunks=(1, 64, 64))
    with h5py.File(tmp_path / "chunk.hdf5", "w") as file:
        imgs = file.create_dataset("imgs", (700_000, 64, 64), "uint8", chunks=(700_000, 64, 64), compression="gzip")
        imgs.id.write_direct_chunk((0, 0, 0), b"x")
    header = np.lib.format.magic(1, 0) + (
        len(text := b"{'descr':'|u1','fortran_order':False,'shape':(99999999,64,64)}\n")
    ).to_bytes(2, "little")
    with zipfile.ZipFile(tmp_path / "rows.npz", "w") as archive:
        archive.writestr("imgs.npy", header + text)
    code = """
import re, sys
from pathlib import Path
from disvae.data import array_file
for path in map(Path, sys.argv[1:]):
    blocks = array_file.blocks(path, "imgs", "uint8", (737_280, 64, 64), 23_040)
    for read in (blocks.__next__, lambda: array_file.read_arrays(path)):
        try:
            read()
        except ValueError as error:
            print(error)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1000)
"""
    files = [str(tmp_path / name) for name in ("rows.hdf5", "chunk.hdf5", "rows.npz")]
    *refusals, megabytes = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(refusals) == 2 * len(files)
    assert int(megabytes) < 200
