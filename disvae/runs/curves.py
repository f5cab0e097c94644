"""The curves of a run, read from its TensorBoard event files."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from disvae.config import ConfigError
from disvae.runs.tags import measured

FIGURE_EVENTS = ".figures"
"""The end of the name of the event file that holds nothing but the pictures of a trained run."""


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
    from tensorboard.backend.event_processing import event_accumulator

    everything = {event_accumulator.SCALARS: 0, event_accumulator.IMAGES: 1, event_accumulator.TENSORS: 1}
    found: dict[str, dict[int, float]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        if file.suffix == FIGURE_EVENTS:  # megabytes, whose checksums take a third of a second
            continue
        try:
            events = event_accumulator.EventAccumulator(str(file), size_guidance=everything).Reload()
        except OSError as error:
            raise ConfigError(f"{file}: these TensorBoard events cannot be read ({error}): delete the file") from error
        for tag in sorted(events.Tags()[event_accumulator.SCALARS], key=lambda tag: events.Scalars(tag)[0].wall_time):
            found.setdefault(measured(tag), {}).update((event.step, event.value) for event in events.Scalars(tag))
    return {
        name: Curve(np.array(sorted(points), np.int64), np.array([points[step] for step in sorted(points)]))
        for name, points in found.items()
    }
