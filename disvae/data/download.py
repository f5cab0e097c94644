"""Files from the web: resumed where the last try stopped, checked, and under their final name only when complete."""

import hashlib
import http.client
import logging
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from disvae.data.cache import locked

log = logging.getLogger(__name__)

TRIES = 4  # one and three more
PAUSE = 1.0  # seconds before the second try; doubled before each later one
TIMEOUT = 30.0  # seconds of silence after which a server counts as gone


def fetch(urls: Sequence[str], path: Path, *, size: int, checksum: str, otherwise: str) -> Path:
    """`path`, downloaded from the first of `urls` that gives `size` bytes with `checksum` ("md5:..." or "sha256:...").

    However many processes ask for it, one of them downloads. `otherwise` ends the message of an error: what a user can
    do where there is no way to the servers.
    """
    if has_checksum(path, checksum):
        return path
    with locked(path):
        if has_checksum(path, checksum):  # made while this process waited
            return path
        part = path.with_name(path.name + ".part")
        for k in range(TRIES):
            url = urls[k % len(urls)]
            try:
                _resume(url, part, size)
                _verify(part, checksum)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{url}: {error}"
                last = k == TRIES - 1
                pause = PAUSE * 2**k
                log.warning(
                    "download, try %d of %d: %s%s", k + 1, TRIES, reason, "" if last else f"; again in {pause:g} s"
                )
                if not last:
                    time.sleep(pause)
            else:
                os.replace(part, path)
                return path
    raise ConnectionError(f"{path.name} could not be downloaded ({reason}): {otherwise}")


def file_checksum(path: Path, kind: str = "sha256") -> str:
    """Such as "sha256:729f..." of the bytes of a file."""
    with path.open("rb") as file:
        return f"{kind}:{hashlib.file_digest(file, kind).hexdigest()}"


def has_checksum(path: Path, checksum: str) -> bool:
    """Whether the file is there and its bytes are the expected ones."""
    return path.is_file() and file_checksum(path, checksum.partition(":")[0]) == checksum


def _resume(url: str, part: Path, size: int) -> None:
    """Append to `part` what it lacks of `size` bytes, or start it again where the server cannot do that."""
    have = part.stat().st_size if part.exists() else 0
    if have == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
        raise
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        coming = response.headers.get("Content-Length")
        if coming is not None and have + int(coming) != size:
            raise OSError(f"expected {size:,} bytes, the server offers {have + int(coming):,}")
        bar = tqdm(total=size, initial=have, desc=part.stem, unit="B", unit_scale=True, unit_divisor=1024, disable=None)
        with bar, part.open("ab" if have else "wb") as file:
            while have < size and (block := response.read(min(1 << 16, size - have))):
                file.write(block)
                have += len(block)
                bar.update(len(block))
    if have < size:
        raise OSError(f"the connection ended after {have:,} of {size:,} bytes")


def _verify(part: Path, checksum: str) -> None:
    """Remove a complete file with the wrong content: there is nothing in it to resume."""
    kind = checksum.partition(":")[0]
    if (found := file_checksum(part, kind)) != checksum:
        part.unlink()
        raise OSError(f"expected {checksum}, got {found}")
