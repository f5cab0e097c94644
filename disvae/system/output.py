"""Standard output and error that never end a program: a closed pipe, a full disk or a letter that ASCII lacks."""

import io
import os
import sys
from typing import Any, TextIO


class LastingOutput(io.RawIOBase):
    """A descriptor that goes to /dev/null from the first failure on; `lost` is the error, such as a closed pipe."""

    lost: OSError | None = None

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream  # which would close the descriptor if nobody held it
        self.descriptor = stream.fileno()

    def writable(self) -> bool:
        """Return True, as for every output."""
        return True

    def fileno(self) -> int:
        """Return the number of the descriptor."""
        return self.descriptor

    def isatty(self) -> bool:
        """Return whether the output is a terminal."""
        return os.isatty(self.descriptor)

    def write(self, data: Any) -> int:
        """Write bytes, or drop them if the output is lost; return how many."""
        left = memoryview(data)
        try:
            while left:
                left = left[os.write(self.descriptor, left) :]
        except OSError as error:
            self.lost = error
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.descriptor)  # also for libraries that write by themselves
        return len(data)


def _lasting(stream: TextIO | None) -> TextIO:
    if stream is None:  # the program was started with a closed output
        return open(os.devnull, "w", encoding="utf-8")
    buffer = getattr(stream, "buffer", None)
    if type(stream) is not io.TextIOWrapper or not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream  # a notebook's, a test's, or one that lasts already
    stream.flush()
    raw = LastingOutput(stream)
    lasting: Any = raw if isinstance(buffer, io.FileIO) else io.BufferedWriter(raw)  # as PYTHONUNBUFFERED says
    return io.TextIOWrapper(
        lasting,
        stream.encoding,
        errors="replace",  # a letter that the encoding lacks becomes a question mark
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def keep_output() -> None:
    """Let failures of standard output and standard error no longer raise errors in this process."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def lost_output() -> OSError | None:
    """Return the error that ended standard output; None if all that was printed has been written."""
    sys.stdout.flush()
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw.lost if isinstance(raw, LastingOutput) else None
