"""The checksum of a file is computed once, until the file changes."""

import hashlib

import pytest

from disvae.data import checksum
from disvae.data.checksum import kept_checksum, path_checksum


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Return the list of files that were read; each file counts as old at once."""
    files, original = [], checksum.file_checksum
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(checksum, "FRESH", -1)
    monkeypatch.setattr(checksum, "file_checksum", lambda path: files.append(path.name) or original(path))
    return files


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def test_a_file_is_read_once_by_any_spelling_and_again_after_a_change(tmp_path, read, monkeypatch):
    file = tmp_path / "data.h5"
    file.write_bytes(b"one")
    monkeypatch.chdir(tmp_path)
    assert kept_checksum(file) == kept_checksum(file.relative_to(tmp_path)) == sha256(b"one")
    assert read == ["data.h5"]
    file.write_bytes(b"two")  # the size is the same
    assert kept_checksum(file) == sha256(b"two")
    assert read == ["data.h5"] * 2


def test_a_file_that_may_still_change_within_its_time_is_read_each_time(tmp_path, read, monkeypatch):
    monkeypatch.setattr(checksum, "FRESH", 1000)
    (tmp_path / "data.h5").write_bytes(b"one")
    assert {kept_checksum(tmp_path / "data.h5") for _ in range(2)} == {sha256(b"one")}
    assert read == ["data.h5"] * 2


@pytest.mark.parametrize("damage", ["{", "[]", '{"checksum": 1}', "\udcff"])
def test_a_damaged_entry_and_a_cache_that_cannot_be_used_do_no_harm(tmp_path, read, damage, monkeypatch):
    (tmp_path / "data.h5").write_bytes(b"one")
    kept_checksum(tmp_path / "data.h5")
    (entry,) = (tmp_path / "cache" / "checksums").iterdir()
    entry.write_bytes(damage.encode(errors="surrogateescape"))
    assert kept_checksum(tmp_path / "data.h5") == sha256(b"one")
    (tmp_path / "a file").touch()
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "a file"))
    assert kept_checksum(tmp_path / "data.h5") == sha256(b"one")


def test_a_folder_counts_by_the_files_that_are_read_from_it(tmp_path, read):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
        (folder / "images.gz").write_bytes(b"images")
        (folder / "labels.gz").write_bytes(b"labels")
    names = ["labels.gz", "images.gz"]
    assert path_checksum(one, names) == path_checksum(other, names) == path_checksum(one)
    (other / "notes.txt").write_bytes(b"mine")
    assert path_checksum(one, names) == path_checksum(other, names) != path_checksum(other)
    (other / "labels.gz").write_bytes(b"others")
    assert path_checksum(one, names) != path_checksum(other, names)
    (other / "labels.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"labels\.gz"):
        path_checksum(other, names)


def test_a_pattern_stands_for_visible_files_at_any_depth(tmp_path, read):
    one = tmp_path / "one"
    (one / "cat" / ".hidden").mkdir(parents=True)
    for name in ("cat/a.PNG", "b.png", "cat/notes.txt", "cat/.c.png", "cat/.hidden/d.png"):
        (one / name).write_bytes(b"content")
    before = path_checksum(one, ["*.png"])
    assert read == ["b.png", "a.PNG"]
    assert path_checksum(one, ["*.png"]) == before
    assert len(read) == 2, "one entry for the whole folder"
    (one / "cat" / "notes.txt").write_bytes(b"others")
    assert path_checksum(one, ["*.png"]) == before
    (one / "cat" / "a.PNG").rename(one / "a.PNG")
    assert path_checksum(one, ["*.png"]) != before
