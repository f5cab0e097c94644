"""What is kept is built once, is complete or absent, and is made again when it does not read back."""

import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from disvae.data import cache

WORKER = """
import os, sys, time
from pathlib import Path
import numpy as np
from disvae.data.cache import build_once
path, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
def build():
    with log.open("a") as file:
        file.write(f"{os.getpid()}\\n")
    path.with_name(f".{path.name}.{os.getpid()}").write_bytes(b"half")
    time.sleep(seconds)
    return {"a": np.arange(1000)}
print(build_once(path, build)[1])
"""


def start(path: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), str(log), str(seconds)], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def numbers():
    """A build that counts its calls."""

    def build():
        build.calls += 1
        return {"a": np.arange(6).reshape(2, 3), "names": np.array(["x", "yz"])}

    build.calls = 0
    return build


def test_the_folder_is_the_environments_choice(monkeypatch, tmp_path):
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.cache_folder() == tmp_path
    monkeypatch.delenv("DISVAE_CACHE_DIR")
    assert cache.cache_folder() == Path("/elsewhere/disvae")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache.cache_folder() == Path.home() / ".cache" / "disvae"


def test_the_second_call_reads_what_the_first_built(tmp_path, numbers):
    path = tmp_path / "new" / "n.npz"
    built, checksum = cache.build_once(path, numbers)
    read, same = cache.build_once(path, numbers)
    assert numbers.calls == 1
    assert checksum == same
    assert built.keys() == read.keys() == {"a", "names"}
    assert all(np.array_equal(built[name], read[name]) for name in read)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_cut_file_is_built_again(tmp_path, numbers, share, caplog):
    path = tmp_path / "n.npz"
    cache.build_once(path, numbers)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert np.array_equal(cache.build_once(path, numbers)[0]["a"], numbers()["a"])
    assert "is damaged" in caplog.text
    assert cache._read(path) is not None


def test_no_flipped_byte_passes_unnoticed(tmp_path, numbers, caplog):
    caplog.set_level(logging.ERROR)
    path = tmp_path / "n.npz"
    _, checksum = cache.build_once(path, numbers)
    good = path.read_bytes()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        found = cache._read(path)  # some bytes of a zip (dates, attributes) carry no content
        assert found is None or cache.content_checksum(found[0]) == found[1] == checksum


def test_a_build_that_fails_leaves_nothing_and_frees_the_lock(tmp_path, numbers):
    path = tmp_path / "n.npz"

    def fail():
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        cache.build_once(path, fail)
    assert not path.exists()
    assert cache.build_once(path, numbers)[1].startswith("sha256:")


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX")
def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path):
    code = f"""
import resource, signal
from pathlib import Path
import numpy as np
from disvae.data.cache import build_once
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    build_once(Path({str(tmp_path / "n.npz")!r}), lambda: {{"a": np.ones(1_000_000)}})
except OSError as error:
    print(error)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.count("\n") == 1
    assert str(tmp_path) in out
    assert "DISVAE_CACHE_DIR" in out
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_a_folder_that_cannot_be_made_says_which_variable_to_set(tmp_path, numbers):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="set DISVAE_CACHE_DIR"):
        cache.build_once(tmp_path / "file" / "n.npz", numbers)


def test_a_link_planted_under_the_temporary_name_is_not_written_through(tmp_path, numbers):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    temporary = tmp_path / f".n.npz.{os.getpid()}"
    temporary.symlink_to(victim)
    cache.build_once(tmp_path / "n.npz", numbers)
    assert victim.read_bytes() == b"mine"
    assert not (tmp_path / "n.npz").is_symlink()
    assert not temporary.is_symlink()


def test_a_link_planted_while_the_file_is_made_is_an_error(tmp_path, numbers, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr(Path, "unlink", lambda path, **_: path.is_symlink() or path.symlink_to(victim))
    with pytest.raises(OSError, match=r"File exists.*set DISVAE_CACHE_DIR"):
        cache.build_once(tmp_path / "n.npz", numbers)
    assert victim.read_bytes() == b"mine"


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path, numbers):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / "n.npz.lock").symlink_to(victim)
    with pytest.raises(OSError, match="set DISVAE_CACHE_DIR"):
        cache.build_once(tmp_path / "n.npz", numbers)
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("content", [b"not an archive", b"PK\x03\x04"])
def test_a_link_in_the_place_of_the_file_is_replaced_not_written_through(tmp_path, numbers, content):
    victim = tmp_path / "victim"
    victim.write_bytes(content)
    (tmp_path / "n.npz").symlink_to(victim)
    cache.build_once(tmp_path / "n.npz", numbers)
    assert victim.read_bytes() == content
    assert not (tmp_path / "n.npz").is_symlink()


def test_eight_processes_build_once_and_read_the_same(tmp_path):
    path, log = tmp_path / "n.npz", tmp_path / "log"
    workers = [start(path, log, 0.3) for _ in range(8)]
    checksums = {worker.communicate(timeout=60)[0] for worker in workers}
    assert len(checksums) == 1
    assert len(log.read_text().split()) == 1


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX")
def test_the_next_in_line_takes_over_from_a_killed_builder(tmp_path):
    path, log = tmp_path / "n.npz", tmp_path / "log"
    holder = start(path, log, 60)
    while not log.exists():
        time.sleep(0.01)
    waiting = [start(path, log, 0) for _ in range(3)]
    time.sleep(1.5)  # for them to come to the lock
    os.kill(holder.pid, signal.SIGKILL)
    killed = time.monotonic()
    checksums = {worker.communicate(timeout=60)[0] for worker in waiting}
    assert time.monotonic() - killed < 2
    holder.communicate()
    assert len(checksums) == 1
    assert len(log.read_text().split()) == 2
    assert not list(tmp_path.glob(".n.npz.*")), "the killed builder's file is swept"


def test_checksum_tells_values_types_shapes_and_names_apart():
    a = np.arange(6)
    different = [{"a": a}, {"b": a}, {"a": a[::-1]}, {"a": a.reshape(2, 3)}, {"a": a.astype(np.int32)}, {"a": a[:0]}]
    assert len({cache.content_checksum(arrays) for arrays in different}) == len(different)
    assert cache.content_checksum({"a": a.reshape(2, 3).T}) == cache.content_checksum({"a": a.reshape(2, 3).T.copy()})
