"""A file that is not what it should be is refused in one line, before its rows are read and without its memory."""

import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from disvae.data import array_file as stream

ROWS = 50
IMAGES = np.random.default_rng(0).integers(0, 2, (ROWS, 64, 64), dtype=np.uint8)
CLASSES = np.arange(ROWS * 6).reshape(ROWS, 6)


def read(path: Path, key: str = "imgs", dtype: str = "uint8", shape: tuple[int, ...] = (ROWS, 64, 64), block: int = 7):
    return list(stream.blocks(path, key, dtype, shape, block))


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


def refusal(path: Path, **changes: object) -> str:
    with pytest.raises(ValueError, match="cannot be read") as error:
        read(path, **changes)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    assert message.endswith("fetch it again, or name the right file")
    return message


def test_blocks_are_the_array_in_order(path):
    blocks = read(path)
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    assert np.array_equal(np.concatenate(blocks), IMAGES)


def test_nested_key_is_the_underscored_one_of_an_npz(path):
    (classes,) = read(path, "latents/classes", "int64", (ROWS, 6), ROWS)
    assert np.array_equal(classes, CLASSES)


def test_fortran_order_is_read_in_one_block_only(npz):
    assert "C order" in refusal(npz, key="latents/classes", dtype="int64", shape=(ROWS, 6), block=10)


def test_missing_file_is_named(tmp_path):
    assert "No such file" in refusal(tmp_path / "none.hdf5")


@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    refusal(tmp_path / "f")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_cut_file_is_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    refusal(path)


def test_forty_flipped_bytes_are_refused_or_harmless(path):
    whole = path.read_bytes()
    refused = 0
    for at in np.random.default_rng(0).choice(len(whole), 40, replace=False).tolist():
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert np.array_equal(np.concatenate(read(path)), IMAGES), f"byte {at} was read wrong without a word"
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


def test_values_kept_in_other_files_are_not_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(ROWS * 64 * 64))
    with h5py.File(tmp_path / "external.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])
    assert "reference to other files" in refusal(tmp_path / "external.hdf5")
    layout = h5py.VirtualLayout(IMAGES.shape, "uint8")
    layout[:] = h5py.VirtualSource(str(tmp_path / "external.hdf5"), "imgs", IMAGES.shape)
    with h5py.File(tmp_path / "virtual.hdf5", "w") as file:
        file.create_virtual_dataset("imgs", layout)
    assert "reference to other files" in refusal(tmp_path / "virtual.hdf5")


def test_declared_but_never_stored_values_are_refused(tmp_path):
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8", chunks=(10, 64, 64))
    assert "found no sound chunk at (0, 0, 0)" in refusal(tmp_path / "d.hdf5")
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file.create_dataset("imgs", IMAGES.shape, "uint8")
    assert "expected 204,800 bytes of imgs, found 0)" in refusal(tmp_path / "d.hdf5")


def test_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "d.npz", imgs=np.array([print] * ROWS, dtype=object))
    assert "found object" in refusal(tmp_path / "d.npz")


def test_more_values_than_declared_are_refused(tmp_path):
    np.savez(tmp_path / "d.npz", imgs=IMAGES)
    with zipfile.ZipFile(tmp_path / "d.npz") as archive:
        content = archive.read("imgs.npy")
    for change, said in ((content + b"\0", "found more"), (content[:-1], "more bytes, found")):
        with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
            archive.writestr("imgs.npy", change)
        assert said in refusal(tmp_path / "d.npz")


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
from disvae.data import array_file as stream
for path in map(Path, sys.argv[1:]):
    try:
        next(stream.blocks(path, "imgs", "uint8", (737_280, 64, 64), 23_040))
    except ValueError as error:
        print(error)
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1000)
"""
    files = [str(tmp_path / name) for name in ("rows.hdf5", "chunk.hdf5", "rows.npz")]
    *refusals, megabytes = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(refusals) == 3
    assert int(megabytes) < 200
