"""A run's pictures: drawn one after another, into its folder and its events."""

import io
import logging
import os
import socket
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from tensorboard.compat.proto.event_pb2 import Event

from disvae.build import Built
from disvae.config import ConfigError, nodes, options
from disvae.encoding import Encoding
from disvae.evaluation.compute import MODEL
from disvae.evaluation.run_encodings import device_of, sources_of
from disvae.instantiate import make, prepared
from disvae.pictures.figure_data import Drawn, FigureData, NotDrawable
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import curves
from disvae.runs.folder import Run
from disvae.runs.tensorboard import FIGURES, later_file, picture_summary
from disvae.vae import VAE

log = logging.getLogger(__name__)

EVENTS = ".figures"
"""How the name of the file ends whose events are the pictures of trained runs."""

COUNTS = ("most", "side", "pairs", "images", "steps")
"""Settings of figures that say how many there are of something without which a picture is empty."""


class Draws(Protocol):
    """A figure with its settings."""

    def __call__(self, vae: VAE, view: FigureData) -> Drawn:
        """Draw."""


@dataclass(frozen=True)
class Pictures:
    """Figures by label, and the labels that somebody asked for by name."""

    figures: dict[str, Draws]
    named: Collection[str]
    said: set[str] = field(default_factory=set)  # labels whose failure was told of; once is enough in a run


def choose_figures(chosen: Mapping[str, Any], final: str | Sequence[str], *, by_default: bool = False) -> Pictures:
    """The figures of figure=[...] and of `final`: a list, or all.

    Figures that are chosen `by_default` were typed by nobody.

    Raises:
        ConfigError: a setting that is not one.
    """
    found = nodes("figure", chosen, options("figure") if final == "all" else final)
    for label, node in found.items():
        for name in COUNTS:
            if isinstance(node.get(name), int) and node[name] < 1:
                key = f"figure.{label.partition('-')[0]}.{name}"
                raise ConfigError(f"{key} must be at least 1, got {node[name]}")
    typed = nodes("figure", {} if by_default else chosen, [] if final == "all" else final)
    figures = {label: prepared(node, f"figure.{label.partition('-')[0]}", 2) for label, node in found.items()}
    return Pictures(figures, set(typed))


@torch.no_grad()
def draw_figures(chosen: Pictures, vae: VAE, view: FigureData) -> Iterator[tuple[str, bytes, str]]:
    """Label, content and suffix of each picture that can be drawn; what cannot, though it was named, is said why."""
    from matplotlib import style  # and what else a run that draws nothing does without

    from disvae.pictures.files import rendered

    training = vae.training
    vae.eval()
    try:
        for label, figure in chosen.figures.items():
            try:
                with style.context("default"):  # whatever a user's matplotlibrc says
                    picture = rendered(figure(vae, view))
            except Exception as error:  # a picture less must not cost a run
                expected = isinstance(error, NotDrawable)
                if label not in chosen.said and (label in chosen.named or not expected):
                    why = "is not to be had" if expected else f"could not be drawn: {type(error).__name__}"
                    log.warning("figure %s %s: %s", label, why, error)
                chosen.said.add(label)
            else:
                yield label, *picture
    finally:
        vae.train(training)


def view_of(encoding: Encoding, config: Mapping[str, Any], folder: Path) -> FigureData:
    """What pictures of a run read: its encoding, and its curves and schedules."""
    return FigureData(encoding, partial(curves, folder), schedules_of(config), config["steps"])


def schedules_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The schedules of a resolved configuration's objective, by the weight's name."""
    return {
        name: make(node, f"schedule.{name}")
        for name, node in config["objective"].items()
        if isinstance(node, Mapping) and str(node.get("_target_")).startswith("disvae.schedule.")
    }


def view_of_run(
    run: Run, *, built: Built | None = None, device: torch.device | None = None
) -> tuple[VAE, FigureData, int]:
    """A trained run's VAE with its last weights, what pictures of it are drawn from, and its step.

    Raises:
        ConfigError: the checkpoint cannot be read.
    """
    config = run.config()
    settings = {**config["score"], "images": "validation", "codes": "mean", "transport": False, "controls": []}
    sources, protocol = sources_of(run, settings, True, built, device or device_of(config))
    encoding = sources[MODEL][0]
    assert encoding.vae is not None
    return encoding.vae, view_of(encoding, config, run.path), protocol["step"]


def draw_run(
    run: Run, chosen: Pictures, *, built: Built | None = None, device: torch.device | None = None
) -> list[str]:
    """Draw a trained run from its validation sample and last weights, into its folder; returns the files' names.

    Raises:
        ConfigError: the checkpoint cannot be read, or the folder not written.
    """
    if not chosen.figures:
        return []
    vae, view, step = view_of_run(run, built=built, device=device)
    try:
        run.figures.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot write {run.figures}: {error.strerror}; make room") from error
    written, pictures = [], {}
    for label, content, suffix in draw_figures(chosen, vae, view):
        write_atomically(run.figures / f"{label}{suffix}", content)
        written.append(f"{label}{suffix}")
        pictures[label] = content
    _log_again(run.path, pictures, step)
    return written


def _log_again(folder: Path, pictures: Mapping[str, bytes], step: int) -> None:
    """Pictures to TensorBoard in place of those of `step` that were drawn before: of two it shows the older.

    All in one file of events that is there once it is whole; until then the former ones are.
    """
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.summary.writer.record_writer import RecordWriter

    former = sorted(folder.glob(f"events.out.tfevents.*{EVENTS}"))
    new = {(f"{FIGURES}/{label}", step) for label in pictures}
    later_file(folder)
    started = time.time()
    events = [Event(wall_time=started, file_version="brain.Event:2")]
    for path in former:
        for event in LegacyEventFileLoader(str(path)).Load():
            if event.HasField("summary") and (event.summary.value[0].tag, event.step) not in new:
                events.append(event)
    for label, content in pictures.items():
        events.append(Event(wall_time=time.time(), step=step, summary=picture_summary(label, content)))
    file = io.BytesIO()
    for event in events:
        RecordWriter(file).write(event.SerializeToString())
    name = f"events.out.tfevents.{int(started):010d}.{socket.gethostname()}.{os.getpid()}.0{EVENTS}"
    write_atomically(folder / name, file.getvalue())
    for path in former:
        path.unlink()
