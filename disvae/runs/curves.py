"""The curves of a run, read from its TensorBoard event files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disvae.config import ConfigError
from disvae.runs.tags import measured

FIGURE_EVENTS = ".figures"
"""The end of the name of the event file that holds nothing but the pictures of a trained run."""

MOST_EVENT_BYTES = 1000
"""Largest record that is read: those of scalars have about a hundred bytes, those of pictures thousands."""


@dataclass(frozen=True)
class Curve:
    """The logged values of one TensorBoard tag."""

    steps: np.ndarray  # (T,) int64, increasing
    values: np.ndarray  # (T,) float64


def curves(folder: Path) -> dict[str, Curve]:
    """Return every scalar curve of a run by the name of its values, `val/kl/03`, whatever its tag is.

    A resumed run may log a step twice; only the last value of each step counts. Earlier versions had other tags.

    Raises:
        ConfigError: a file of events cannot be read.
    """
    found: dict[str, dict[int, float]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        if file.suffix == FIGURE_EVENTS:  # megabytes
            continue
        try:
            for tag, step, value in _scalars(file.read_bytes()):
                found.setdefault(measured(tag), {})[step] = value
        except OSError as error:
            raise ConfigError(f"{file}: these TensorBoard events cannot be read ({error}): delete the file") from error
    return {
        name: Curve(np.array(sorted(points), np.int64), np.array([points[step] for step in sorted(points)]))
        for name, points in found.items()
    }


def _scalars(data: bytes) -> Iterator[tuple[str, int, float]]:
    """Yield tag, step and value of each scalar in a file of events, up to a record that is cut off or damaged.

    TensorBoard's own reader computes the checksums of all records byte by byte in Python, pictures included, which
    takes 0.4 s for a run of 10,000 steps; this one takes a tenth of that.
    """
    from tensorboard.compat.proto.event_pb2 import Event

    parts = []  # first and last place of what has a checksum of its own: each length, and each event
    at = 0
    while at + 16 <= len(data):  # a length (8 bytes), its checksum (4), an event, its checksum (4)
        end = at + 12 + int.from_bytes(data[at : at + 8], "little")
        if end + 4 > len(data):
            break
        parts.append((at, at + 8))
        if end - at <= MOST_EVENT_BYTES:
            parts.append((at + 12, end))
        at = end + 4
    for start, end in parts[: _whole(data, np.array(parts, np.int64).reshape(-1, 2))]:
        if end - start > 8:  # no length, for an event holds at least its time
            event = Event.FromString(data[start:end])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    yield value.tag, event.step, value.simple_value


def _whole(data: bytes, parts: np.ndarray) -> int:
    """Return how many of the parts (P, 2) come before the first one that is damaged.

    The masked CRC-32C of a part stands in the four bytes after it. All parts are checked at once, byte by byte.
    """
    places = np.frombuffer(data, np.uint8)
    starts, lengths = parts[:, 0], parts[:, 1] - parts[:, 0]
    longest_first = np.argsort(-lengths, kind="stable")
    at = starts[longest_first]
    longer = len(parts) - np.cumsum(np.bincount(lengths))  # number of parts with more than 0, 1, ... bytes
    crc = np.full(len(parts), 0xFFFFFFFF, np.uint32)
    for place, n in enumerate(longer[:-1]):
        crc[:n] = _CRC[(crc[:n] ^ places[at[:n] + place]) & 0xFF] ^ (crc[:n] >> 8)
    crc = ~crc
    stored = places[parts[longest_first, 1, None] + np.arange(4)].view("<u4")[:, 0]
    damaged = longest_first[(crc >> 15 | crc << 17) + np.uint32(0xA282EAD8) != stored]
    return int(damaged.min(initial=len(parts)))


def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    return table


_CRC = _table()
"""The effect (256,) of each byte on a CRC-32C."""
