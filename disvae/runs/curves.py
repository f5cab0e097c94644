"""The curves of a run, read from its TensorBoard event files."""

from collections.abc import Iterator, Sequence
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

    records = []  # each with the bytes of its checksum
    at = 0
    while at + 16 <= len(data):  # a length (8 bytes), its checksum (4), an event, its checksum (4)
        end = at + 12 + int.from_bytes(data[at : at + 8], "little")
        if end + 4 > len(data):
            break
        records.append((data[at : at + 8], data[at + 8 : at + 12]))
        if end - at <= MOST_EVENT_BYTES:
            records.append((data[at + 12 : end], data[end : end + 4]))
        at = end + 4
    for (record, stored), checksum in zip(records, _masked_crc32c([record for record, _ in records]), strict=True):
        if int.from_bytes(stored, "little") != checksum:
            return
        if len(record) > 8:  # no length, for an event holds at least its time
            event = Event.FromString(record)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    yield value.tag, event.step, value.simple_value


def _masked_crc32c(records: Sequence[bytes]) -> np.ndarray:
    """Return the checksums (R,) of records as a file of events has them, all records at once, byte by byte."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1)
    lengths = np.array([len(record) for record in records], np.int64)
    longest_first = np.argsort(-lengths, kind="stable")
    padded = np.zeros((len(records), lengths.max(initial=0)), np.uint8)
    for row, i in zip(padded, longest_first, strict=True):
        row[: lengths[i]] = np.frombuffer(records[i], np.uint8)
    crc = np.full(len(records), 0xFFFFFFFF, np.uint32)
    for place, column in enumerate(padded.T):
        n = int((lengths > place).sum())
        crc[:n] = table[(crc[:n] ^ column[:n]) & 0xFF] ^ (crc[:n] >> 8)
    sums = np.empty_like(crc)
    sums[longest_first] = ~crc
    return (sums >> 15 | sums << 17) + np.uint32(0xA282EAD8)
