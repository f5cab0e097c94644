"""Locks between processes: the system's own or, on file systems without it, a file that names its owner.

The owner's host, process and start are in the file. Where the system has no locks, a file whose owner on this host has
ended is taken over.
"""

import contextlib
import errno
import logging
import os
import socket
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

log = logging.getLogger(__name__)

NO_FLOCK = {errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK}
"""Errors of a file system without the system's locks; NFS and FUSE raise different ones."""


@cache
def _has_flock(folder: Path) -> bool:
    """Return whether the file system of `folder` has locks; raise OSError if no file can be made in it."""
    if sys.platform == "win32":
        return True
    import fcntl

    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_FLOCK:
                return False
            raise
    return True


def acquired(path: Path, timeout: float) -> BaseFileLock:
    """Return the lock of `path`, acquired for this process within `timeout` seconds.

    Raises:
        Timeout: another process has it; see `owner`.
        OSError: the file cannot be made.
    """
    lock = FileLock(path) if _has_flock(path.parent) else SoftFileLock(path)
    lock.acquire(timeout=timeout, poll_interval=0.05)
    if not isinstance(lock, SoftFileLock):  # which writes the process, the host and its start itself
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same
            flags = os.O_WRONLY | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)  # a shared folder may hold a link
            with open(os.open(path, flags), "w", encoding="utf-8") as file:
                file.write(f"process {os.getpid()} on {socket.gethostname()} since {since}\n")
    return lock


def awaited(path: Path) -> BaseFileLock:
    """Return the lock of `path` as soon as it is free; a line says who has it if that takes more than a second."""
    try:
        return acquired(path, timeout=1)
    except Timeout:
        log.warning(
            "waiting for %s, which has locked %s (delete this file if that process has ended)", owner(path), path
        )
        return acquired(path, timeout=-1)


def owner(path: Path) -> str:
    """Return the process that has locked `path`, in words."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # released meanwhile
        text = ""
    pid, *host = text.split("\n")[:2]
    return f"process {pid} on {host[0]}" if pid.isdecimal() and host else text.strip() or "another process"
