"""Digests of the files in a run folder, by which a reader notices that a file was damaged, edited or exchanged.

digests.json holds, for each file, the digest of its content and that of the content before. It is written first, then
the file: whenever the process is killed, the content that is there is one of the two. A file without an entry is not
checked, because versions before this one wrote none. Imports no torch.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.runs.atomic import replacing, write_atomically
from disvae.runs.contents import TEXT, with_form

NAME = "digests.json"
"""The file of the digests, one in each run folder."""

TAIL = 2**20
"""Bytes at the end of a checkpoint that are hashed; they hold its directory, with a checksum for each tensor."""


class Damaged(ConfigError):
    """An error that says that a file of a run is not what was written, or cannot be read."""


class Changed(ValueError):
    """An error that says that the content of a file does not have the digest that was recorded."""

    def __init__(self) -> None:
        super().__init__("is not what was written (damaged?)")


def content_digest(content: bytes) -> str:
    """Return a hash of a file's content."""
    return hashlib.sha256(content).hexdigest()[:16]


def file_digest(path: Path, *, of: Path | None = None) -> str:
    """Return the hash of a file that is, or will become, the file `of` a run; a checkpoint's is quick."""
    if (of or path).suffix != ".ckpt":
        return content_digest(path.read_bytes())
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        return content_digest(b"%d " % size + file.read())


def sealed(content: Mapping[str, Any]) -> str:
    """Return the text of a JSON file that holds its own digest."""
    return json.dumps({**content, "digest": content_digest(json.dumps(content).encode())}, indent=1) + "\n"


def unsealed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content without its own digest, if it has one.

    Raises:
        Changed: the digest is not that of the content.
    """
    bare = {name: value for name, value in content.items() if name != "digest"}
    if "digest" in content and content["digest"] != content_digest(json.dumps(bare).encode()):
        raise Changed
    return bare


def _known(folder: Path) -> dict[str, list[str]]:
    path = folder / NAME
    try:
        known = unsealed(json.loads(path.read_bytes()))
        with_form(known, {"*": [TEXT]})
    except FileNotFoundError:
        return {}
    except Exception as error:  # a damaged file makes the parser raise many kinds of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise Damaged(f"{path} is damaged ({reason}): delete it to do without a check of the other files") from error
    return known


def is_known(path: Path, digest: str) -> bool:
    """Return whether the file at `path` may have this digest.

    Raises:
        Damaged: digests.json is damaged.
    """
    known = _known(path.parent)
    return path.name not in known or digest in known[path.name]


def read_known(path: Path) -> bytes:
    """Return the content of a small file, checked.

    Raises:
        Changed: the content is not what was written.
        Damaged: digests.json is damaged.
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    while not is_known(path, content_digest(content)):
        if content == (content := path.read_bytes()):  # otherwise it was written again in the meantime
            raise Changed
    return content


@contextmanager
def recorded(path: Path) -> Iterator[Path]:
    """Yield a temporary path; what the body writes there replaces `path`, once its digest is in digests.json.

    Raises:
        OSError: the file cannot be written.
        ConfigError: digests.json is damaged or cannot be written.
    """
    with replacing(path) as temporary:
        yield temporary
        _record(path, file_digest(temporary, of=path))


def write_recorded(path: Path, content: str | bytes) -> None:
    """Write text or bytes to `path`, completely or not at all, and its digest to digests.json.

    Raises:
        ConfigError: a file cannot be written. The old content is intact.
    """
    write_atomically(path, content, recorded)


def _record(path: Path, coming: str) -> None:
    known = _known(path.parent)
    present = file_digest(path) if path.is_file() else coming
    kept = sorted({present, coming} & {*known.get(path.name, [present]), coming})
    if known.get(path.name) != kept:
        write_atomically(path.parent / NAME, sealed({**known, path.name: kept}))


def admit(folder: Path, others: Path) -> None:
    """Let the digests of a folder allow the files of the folder `others` too, which will be moved there.

    Raises:
        ConfigError: digests.json is damaged in `others` or cannot be written.
    """
    coming = _known(others)
    try:
        known = _known(folder)
    except Damaged:  # all that it is about will be replaced
        known = {}
    both = {name: sorted({*digests, *coming.get(name, ())}) for name, digests in known.items()}
    if both != known:
        write_atomically(folder / NAME, sealed(both))
