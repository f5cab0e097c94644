import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from disvae.system import scratch


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder for temporary files and semaphores."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(scratch, "SEMAPHORES", tmp_path)
    monkeypatch.setattr(scratch, "_held", {})
    return tmp_path


def _work(place: Path) -> None:
    (scratch.scratch() / "pymp-1").mkdir()
    (place / f"sem.loky-{os.getpid()}-abc").touch()
    (place / "begun").touch()
    time.sleep(60)


def test_what_a_killed_process_left_is_removed_and_what_a_live_one_uses_is_kept(place):
    live, killed = (multiprocessing.get_context("fork").Process(target=_work, args=(place,)) for _ in range(2))
    for process in (killed, live):
        process.start()
        while not (place / "begun").exists():
            time.sleep(0.01)
        (place / "begun").unlink()
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    own = scratch.scratch()
    assert own == scratch.scratch()
    assert f"-{os.getpid()}-" in own.name
    left = sorted(path.name.rpartition("-")[0] for path in place.iterdir())
    assert left == sorted([f"disvae-tmp-{os.getuid()}-{live.pid}", f"sem.loky-{live.pid}", own.name.rpartition("-")[0]])
    live.kill()
    live.join()
    scratch.clear_scratch()
    assert not own.exists()


def test_a_folder_that_is_about_to_be_locked_is_kept(place):
    begun = place / f"disvae-tmp-{os.getuid()}-1-x"
    begun.mkdir()
    (begun / ".lock").touch()
    scratch.scratch()
    assert begun.exists()


def test_sockets_of_processes_lie_in_the_folder(place):
    with scratch.temporary_files_in(scratch.scratch()):
        assert Path(tempfile.mkdtemp()).parent == scratch.scratch()
    assert tempfile.gettempdir() == str(place)
