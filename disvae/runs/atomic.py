"""Atomic writes: a file is written completely or not at all. Every writer of the package uses these functions."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from disvae.config import ConfigError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers that mean that the disk is full, a quota is reached or the file is too large."""

Replacing = Callable[[Path], AbstractContextManager[Path]]


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what the body writes there replaces `path` in one step, once it is on the disk.

    A symbolic link stays, and the file that it points to is replaced. A device, a pipe or an open file such as
    /dev/stdout is never replaced: `path` itself is yielded then.

    Raises:
        OSError: the file cannot be written. The old content is intact, and the temporary file is removed.
    """
    is_open = path.absolute().is_relative_to("/dev/fd") or str(path) in ("/dev/stdout", "/dev/stderr")
    if path.exists() and (is_open or not path.is_file()):
        yield path
        return
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL, 0o666))  # O_EXCL never follows a link that somebody put there
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(target)
        _sync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error says more than a failed clean-up
            temporary.unlink()
        raise


def write_atomically(path: Path, content: str | bytes, within: Replacing = replacing) -> None:
    """Write text or bytes to `path`, completely or not at all; `within` does more than replace the file.

    Raises:
        ConfigError: the file cannot be written, for example because the disk is full. The old content is intact.
    """
    try:
        with within(path) as temporary:
            temporary.write_bytes(_bytes(content))
    except OSError as error:
        raise not_written(path, error) from error


def _bytes(content: str | bytes) -> bytes:
    """Return a file's content as bytes; the bytes of a path that is not UTF-8 are written as `\\udcff`."""
    return content.encode(errors="backslashreplace") if isinstance(content, str) else content


def not_written(path: Path, error: OSError | RuntimeError) -> ConfigError:
    """Return the error that names the path, the reason and what to do; torch reports a full disk as a RuntimeError."""
    reason = error.strerror or error if isinstance(error, OSError) else "the disk is full or a quota is reached"
    is_full = isinstance(error, RuntimeError) or error.errno in FULL
    remedy = "make room or set out=PATH, then repeat the command"
    return ConfigError(
        f"cannot write {path}: {reason}; {remedy if is_full else 'choose another path; for a run, set out=PATH'}"
    )


def _sync(path: Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
