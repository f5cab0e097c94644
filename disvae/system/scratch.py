"""A folder for the temporary files of this process, which the next process removes if this one is killed.

joblib keeps arrays for its processes in a temporary folder and, on Linux, semaphores in /dev/shm; multiprocessing keeps
its sockets in another folder. Their clean-up does not run if everything is killed at once, by the kernel when memory
runs out or by a batch system at its limit.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.util import Finalize
from pathlib import Path

from filelock import BaseFileLock, Timeout

from disvae.system.locks import acquired

SEMAPHORES = Path("/dev/shm")
"""Where Linux keeps named semaphores; the names of joblib's hold the number of their process."""

_held: dict[int, tuple[Path, BaseFileLock]] = {}  # by process, since a fork has a folder of its own


def scratch() -> Path:
    """Return the folder for temporary files of this process; those of processes that were killed are removed."""
    pid = os.getpid()
    if pid not in _held:
        user = os.getuid() if hasattr(os, "getuid") else 0
        prefix = f"disvae-tmp-{user}-"
        for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            _sweep(left, left.name.removeprefix(prefix).partition("-")[0], user)
        folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{pid}-"))
        Finalize(None, clear_scratch, exitpriority=-101)  # after multiprocessing has removed its own folder, at -100
        _held[pid] = folder, acquired(folder / ".lock", timeout=0)
    return _held[pid][0]


def _sweep(folder: Path, pid: str, user: int) -> None:
    """Remove a folder, and the semaphores of its process, unless the process lives or they are another user's."""
    with contextlib.suppress(Timeout, OSError):
        mark = folder / ".lock"
        if folder.lstat().st_uid == user and mark.stat().st_size:  # an empty one is about to be locked
            lock = acquired(mark, timeout=0)
            if not Path("/proc", pid).exists():  # another process may have the number now
                for semaphore in SEMAPHORES.glob(f"sem.loky-{pid}-*"):
                    semaphore.unlink()
            shutil.rmtree(folder)
            lock.release()


def clear_scratch() -> None:
    """Remove the folder of this process, if it has one; a process that ends without exit handlers calls this."""
    if os.getpid() in _held:
        folder, lock = _held.pop(os.getpid())
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


@contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Let Python make temporary files in `folder` in the body."""
    former, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = former
