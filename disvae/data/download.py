"""Download of a file: tried again, bounded in size and time, under its final name only when whole and checked."""

import hashlib
import logging
import os
import time
import urllib.request
from collections.abc import Sequence
from http import HTTPStatus
from http.client import HTTPException
from io import BufferedRandom
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from tqdm import tqdm

from disvae.data.cache import locked

log = logging.getLogger(__name__)

TRIES = 4  # one and three more
PAUSE = 1.0  # seconds before the second try; doubled before each later one
TIMEOUT = 30.0  # seconds of silence after which a server counts as gone
PATIENCE = 60.0  # seconds in which BLOCK bytes must come: a server that gives less than 1 kB/s counts as gone, too
BLOCK_SIZE = 60_000

ByteBlocks = SimpleQueue[tuple[int, bytes] | Exception]


def fetch(urls: Sequence[str], path: Path, *, size: int, checksum: str, otherwise: str) -> Path:
    """Return `path`, downloaded from the first of `urls` that gives `size` bytes with `checksum`, "sha256:...".

    However many processes ask for it, one of them downloads. `otherwise` ends the message of an error and says what a
    user can do where there is no way to the servers.
    """
    if _is_whole(path, checksum):
        return path
    with locked(path):
        if _is_whole(path, checksum):  # made while this process waited
            return path
        part = path.with_name(path.name + ".part")
        try:
            part.unlink(missing_ok=True)  # a killed download's, or a link that somebody planted in a shared folder
            with part.open("x+b") as file:  # "x" makes a new file and follows no link
                _download(urls, file, size, checksum, path.name)
            part.replace(path)
        except OSError as error:
            if part.is_file():
                part.unlink()
            raise ConnectionError(f"{path.name} could not be downloaded ({error}): {otherwise}") from error
    return path


def file_checksum(path: Path, kind: str = "sha256") -> str:
    """Return the checksum of a file's bytes, such as "sha256:729f..."."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def _is_whole(path: Path, checksum: str) -> bool:
    return path.is_file() and file_checksum(path) == checksum


def _download(urls: Sequence[str], file: BufferedRandom, size: int, checksum: str, name: str) -> None:
    """Fill the empty `file`; a try goes on where the last one stopped, with the next of `urls`."""
    for k in range(TRIES):
        url = urls[k % len(urls)]
        try:
            _resume(url, file, size, name)
            file.seek(0)
            if (found := f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}") != checksum:
                file.truncate(0)  # there is nothing in it to resume
                raise OSError(f"expected {checksum}, got {found}")
            return
        except (OSError, ValueError, HTTPException) as error:  # ValueError: headers that are no numbers
            reason, pause = f"{url}: {error}", PAUSE * 2**k
        if k == TRIES - 1:
            raise OSError(reason)
        log.warning("download, try %d of %d: %s; again in %g s", k + 1, TRIES, reason, pause)
        time.sleep(pause)


def _resume(url: str, file: BufferedRandom, size: int, name: str) -> None:
    """Append to `file` what it lacks of `size` bytes, or start it again where the server cannot do that.

    A thread talks to the server. This one waits for it no longer than PATIENCE, whatever the server does: a header
    without end or a byte now and then never lets a socket's own timeout pass.
    """
    have, blocks = file.seek(0, os.SEEK_END), ByteBlocks()
    Thread(target=_read, args=(url, have, size, blocks), daemon=True).start()
    with tqdm(total=size, initial=have, desc=name, unit="B", unit_scale=True, unit_divisor=1024, disable=None) as bar:
        while have < size:
            try:
                block = blocks.get(timeout=PATIENCE)
            except Empty:
                raise TimeoutError(f"the server gave less than {BLOCK_SIZE:,} bytes in {PATIENCE:g} s") from None
            if isinstance(block, Exception):
                raise block
            file.seek(block[0])
            file.write(block[1])
            file.truncate()
            bar.update(file.tell() - have)
            have = file.tell()


def _read(url: str, have: int, size: int, blocks: ByteBlocks) -> None:
    """Put into `blocks` where each block begins and its bytes, never beyond `size`, and then what went wrong."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.build_opener(_StaysEncrypted).open(request, timeout=TIMEOUT) as response:
            start = have if response.status == HTTPStatus.PARTIAL_CONTENT else 0
            coming = response.headers.get("Content-Length")
            if coming is not None and start + int(coming) != size:
                raise OSError(f"expected {size:,} bytes, the server offers {start + int(coming):,}")
            while start < size and (block := response.read(min(BLOCK_SIZE, size - start))):
                blocks.put((start, block))
                start += len(block)
        raise OSError(f"the connection ended after {start:,} of {size:,} bytes")
    except Exception as error:
        blocks.put(error)


class _StaysEncrypted(urllib.request.HTTPRedirectHandler):
    """Refuse a redirect that leads from https to anything else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request for the new address."""
        if req.type == "https" and not newurl.startswith("https:"):
            raise OSError(f"the server redirects from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
