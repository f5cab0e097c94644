"""What a writer promises: the old content or the new one, and nothing but files is ever replaced."""

import os
import re
import stat
import threading
from pathlib import Path

import pytest

import disvae
from disvae.config import ConfigError
from disvae.runs.atomic import replacing, write_atomically


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_atomically(path, "old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ConfigError, match=r"cannot write .*status\.json: No space left on device; make room"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["status.json"]


def test_whatever_ends_the_body_leaves_the_old_file(tmp_path):
    path = tmp_path / "x"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        temporary.write_bytes(Path("/nowhere/source").read_bytes() if temporary.write_text("half") else b"")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_the_file_it_leads_to_is_replaced(tmp_path, there):
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "target.csv"
    if there:
        target.write_text("old")
    (tmp_path / "near.csv").symlink_to("far/target.csv")
    (tmp_path / "nearer.csv").symlink_to(tmp_path / "near.csv")
    write_atomically(tmp_path / "nearer.csv", "new")
    assert target.read_text() == "new"
    assert not target.is_symlink()
    assert os.readlink(tmp_path / "nearer.csv") == str(tmp_path / "near.csv")
    assert os.readlink(tmp_path / "near.csv") == "far/target.csv"
    assert names(tmp_path) == ["far", "near.csv", "nearer.csv"]
    assert names(tmp_path / "far") == ["target.csv"]


def test_a_pipe_is_written_to(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (tmp_path / "link.csv").symlink_to(path)
    found = []
    for place in (path, tmp_path / "link.csv"):
        reader = threading.Thread(target=lambda: found.append(path.read_bytes()), daemon=True)
        reader.start()
        write_atomically(place, "a,b\n")
        reader.join(10)
    assert found == [b"a,b\n", b"a,b\n"]
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert names(tmp_path) == ["link.csv", "pipe"]


def test_a_device_is_written_to():
    master, slave = os.openpty()
    path = Path(os.ttyname(slave))
    before = path.stat()
    write_atomically(path, "hello\n")
    assert os.read(master, 100) == b"hello\r\n"
    assert stat.S_ISCHR(path.stat().st_mode)
    assert (path.stat().st_rdev, path.stat().st_ino) == (before.st_rdev, before.st_ino)
    os.close(master)
    os.close(slave)


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="this system has no /dev/fd")
def test_an_open_file_is_written_to(tmp_path):
    with (tmp_path / "out").open("w") as file:
        before = (tmp_path / "out").stat().st_ino
        write_atomically(Path(f"/dev/fd/{file.fileno()}"), "hello\n")
    assert (tmp_path / "out").read_text() == "hello\n"
    assert (tmp_path / "out").stat().st_ino == before


def test_what_cannot_be_written_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "file" / "x", tmp_path / "nowhere" / "x", tmp_path, tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match=f"cannot write {re.escape(str(path))}: .*; choose another path"):
            write_atomically(path, "x")
    assert names(tmp_path) == ["file", "loop"]


def test_there_is_no_other_way_to_write_a_file():
    """A file that grows (events, log, a download) is another matter."""
    ways = r"\.write_(text|bytes)\(|os\.re(place|name)|mkstemp|NamedTemporaryFile|\.savefig\(path|File\(path, \"w"
    found = {
        path.relative_to(Path(disvae.__file__).parent).name
        for path in Path(disvae.__file__).parent.rglob("*.py")
        if re.search(ways, path.read_text(encoding="utf-8"))
    }
    assert found == {"atomic.py"}
