"""Codes go to a file and come back; a damaged file is named, never scored."""

import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.evaluation.codes_file import read_codes, write

ARRAYS = {
    "codes": np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32),
    "factors": np.arange(100).reshape(50, 2),
    "factor_names": np.array(["shape", "größe"]),
    "checkpoint": np.array("abc"),
    "population": np.array(400),
    "controls/pca": np.zeros((50, 2)),
}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "codes.h5"
    write(path, ARRAYS | {"none": np.empty((50, 0))})
    found = read_codes(path)
    assert found.pop("none").shape == (50, 0)
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found[name] == array).all()
    assert str(found["checkpoint"]) == "abc"


def test_npz_is_read_as_well(tmp_path):
    np.savez(tmp_path / "codes.npz", codes=ARRAYS["codes"], factor_names=ARRAYS["factor_names"])
    found = read_codes(tmp_path / "codes.npz")
    assert (found["codes"] == ARRAYS["codes"]).all()
    assert list(found["factor_names"]) == ["shape", "größe"]


@pytest.mark.parametrize("kept", [0, 10, 600, -1])
def test_a_truncated_file_is_named(tmp_path, kept):
    path = tmp_path / "codes.h5"
    write(path, ARRAYS)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ConfigError, match=r"codes\.h5 cannot be read"):
        read_codes(path)


def test_a_changed_byte_of_the_codes_is_found(tmp_path):
    path = tmp_path / "codes.h5"
    write(path, ARRAYS)
    content = bytearray(path.read_bytes())
    at = content.find(ARRAYS["codes"].tobytes())
    assert at > 0
    content[at + 5] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_codes(path)


def test_an_npz_that_would_run_code_is_refused(tmp_path):
    np.savez(tmp_path / "codes.npz", codes=np.array([object()], dtype=object))
    with pytest.raises(ConfigError, match="cannot be read"):
        read_codes(tmp_path / "codes.npz")


@pytest.mark.parametrize(("name", "found"), [("codes.npy", "one array, .npy"), ("codes.csv", "neither")])
def test_another_format_is_told_which_ones_are_read_and_how_to_write_them(tmp_path, name, found):
    (np.save if name.endswith("npy") else np.savetxt)(tmp_path / name, ARRAYS["codes"])
    with pytest.raises(ConfigError) as error:
        read_codes(tmp_path / name)
    assert str(error.value) == (
        f"{tmp_path / name} cannot be read (expected an HDF5 or NPZ file, found {found}): write HDF5, or NPZ with "
        "numpy.savez('codes.npz', codes=codes, factors=factors)"
    )


def test_an_unwritable_place_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / "codes.h5"
    write(path, ARRAYS)
    before = path.read_bytes()

    def full(fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError, match="No space left on device; make room"):
        write(path, ARRAYS)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["codes.h5"]


def test_no_such_file_says_what_to_name(tmp_path):
    with pytest.raises(ConfigError, match="is not a file"):
        read_codes(tmp_path / "none.h5")
