"""Locks where the system has its own, and where a file stands for them."""

import errno
import fcntl
import os
import socket
import subprocess
import sys

import pytest
from filelock import Timeout

from disvae.system import locks
from disvae.system.locks import acquired, awaited, owner


@pytest.fixture(params=[errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def no_flock(request, monkeypatch):
    """Let this machine's file systems refuse locks."""

    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_the_owner_is_named(tmp_path):
    with acquired(tmp_path / "lock", timeout=0):
        assert owner(tmp_path / "lock").startswith(f"process {os.getpid()} on {socket.gethostname()} since 2")
        with pytest.raises(Timeout):
            acquired(tmp_path / "lock", timeout=0)


def test_without_the_systems_locks_a_living_owner_is_respected(no_flock, tmp_path):
    with acquired(tmp_path / "lock", timeout=0):
        assert owner(tmp_path / "lock") == f"process {os.getpid()} on {socket.gethostname()}"
        with pytest.raises(Timeout):
            acquired(tmp_path / "lock", timeout=0.2)
    acquired(tmp_path / "lock", timeout=1).release()


def test_without_the_systems_locks_a_dead_owner_is_replaced(no_flock, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / "lock").write_text(f"{dead.pid}\n{socket.gethostname()}\n")
    acquired(tmp_path / "lock", timeout=1).release()


def test_waiting_is_said_with_the_owner(monkeypatch, caplog, tmp_path):
    tries = []

    def first_fails(path, timeout):
        tries.append(timeout)
        if len(tries) == 1:
            raise Timeout(str(path))

    monkeypatch.setattr(locks, "acquired", first_fails)
    (tmp_path / "lock").write_text("7\nelsewhere\n3\n")
    awaited(tmp_path / "lock")
    assert tries == [1, -1]
    assert "waiting for process 7 on elsewhere, which has locked" in caplog.text
