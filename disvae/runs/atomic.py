"""Files that are whole or not there, whatever happens while they are written; every writer of the package is here."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from disvae.config import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors that say that nothing more can be stored."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path to write to; what the body wrote there takes the place of `path` once it is on the disk.

    A link stays and the file it leads to is replaced. What exists and is no regular file, as a device or a pipe, is
    never replaced: then `path` itself is yielded.

    Raises:
        OSError: the file cannot be written; the old content is intact and nothing else is left.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))  # follows no link that somebody put in its place
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell, not that this folder is read-only
            temporary.unlink()
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write text or bytes to `path` by `replacing` it.

    Raises:
        ConfigError: the file cannot be written, say the disk is full; the old content is intact.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise not_written(path, error) from error


def not_written(path: Path, error: OSError | RuntimeError) -> ConfigError:
    """Return the error that names the path, the reason and what to do; a RuntimeError is torch's for a full disk."""
    reason = error.strerror or error if isinstance(error, OSError) else "the disk is full or a quota is reached"
    is_full = isinstance(error, RuntimeError) or error.errno in FULL
    remedy = "make room or set out=PATH, then give the same command again"
    return ConfigError(
        f"cannot write {path}: {reason}; {remedy if is_full else 'name another place, of a run out=PATH'}"
    )


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
