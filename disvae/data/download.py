"""Downloads with retries, limits of size and time, and a final name only for a complete and verified file."""

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
from disvae.data.checksum import file_checksum

log = logging.getLogger(__name__)

TRIES = 4  # the first try and three more
PAUSE = 1.0  # seconds before the second try; doubled before each later try
TIMEOUT = 30.0  # seconds without data after which a server is given up
PATIENCE = 60.0  # seconds in which BLOCK_SIZE bytes must arrive; a server below 1 kB/s is given up, too
BLOCK_SIZE = 60_000

ByteBlocks = SimpleQueue[tuple[int, bytes] | Exception]


def fetch(urls: Sequence[str], path: Path, *, size: int, checksum: str, otherwise: str) -> Path:
    """Return `path`, downloaded from the first of `urls` that serves `size` bytes with `checksum`, "sha256:...".

    If several processes need the file, one of them downloads it. `otherwise` ends the error message; it says what a
    user can do if the servers cannot be reached.
    """
    if _is_whole(path, checksum):
        return path
    with locked(path):
        if _is_whole(path, checksum):  # another process downloaded it meanwhile
            return path
        part = path.with_name(path.name + ".part")
        try:
            part.unlink(missing_ok=True)  # from a killed download, or a link in a shared folder
            with part.open("x+b") as file:  # "x" makes a new file and follows no link
                _download(urls, file, size, checksum, path.name)
            part.replace(path)
        except OSError as error:
            if part.is_file():
                part.unlink()
            raise ConnectionError(f"{path.name} could not be downloaded ({error}): {otherwise}") from error
    return path


def _is_whole(path: Path, checksum: str) -> bool:
    return path.is_file() and file_checksum(path) == checksum


def _download(urls: Sequence[str], file: BufferedRandom, size: int, checksum: str, name: str) -> None:
    """Download into the empty `file`; each try uses the next of `urls` and resumes the try before."""
    for k in range(TRIES):
        url = urls[k % len(urls)]
        try:
            _resume(url, file, size, name)
            file.seek(0)
            if (found := f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}") != checksum:
                file.truncate(0)  # wrong content cannot be resumed
                raise OSError(f"expected {checksum}, got {found}")
            return
        except (OSError, ValueError, HTTPException) as error:  # ValueError: a header is not a number
            reason, pause = f"{url}: {error}", PAUSE * 2**k
        if k == TRIES - 1:
            raise OSError(reason)
        log.warning("download, try %d of %d: %s; again in %g s", k + 1, TRIES, reason, pause)
        time.sleep(pause)


def _resume(url: str, file: BufferedRandom, size: int, name: str) -> None:
    """Append the missing bytes to `file`, or start it again if the server does not support this.

    Another thread reads from the server, and this one waits at most PATIENCE for each block. The timeout of a socket
    alone is not enough: a server that sends a byte now and then never reaches it.
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
    """Put the start and the bytes of each block into `blocks`, up to `size` bytes; put any error there, too."""
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
    """A handler of redirects that refuses to leave https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Return the request for the new address, or raise OSError if it leaves https."""
        if req.type == "https" and not newurl.startswith("https:"):
            raise OSError(f"the server redirects from https to {newurl}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)
