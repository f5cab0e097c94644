"""Draw the pictures of a run into its folder and into its TensorBoard events."""

import logging
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from disvae.build import Built, objective_alone
from disvae.config import ConfigError, facts, is_option, nodes, options
from disvae.data.factors import binned
from disvae.encoding import Encoding
from disvae.evaluation.compute import MODEL
from disvae.evaluation.run_encodings import device_of, sources_of
from disvae.pictures.factor_shares import BINS
from disvae.pictures.figure_data import Drawn, FigureData, NotDrawable
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import FIGURE_EVENTS, curves
from disvae.runs.folder import Run
from disvae.runs.tensorboard import picture_summary, replace_events
from disvae.system.instantiate import make, prepared
from disvae.system.signals import stop_if_asked
from disvae.vae import VAE

log = logging.getLogger(__name__)

COUNTS = {"most": math.inf, "images": math.inf, "side": 100, "pairs": 1000, "steps": 1000}
"""Settings of figures that count something, and the most that a picture can show; with 0 it would be empty."""


class Draws(Protocol):
    """A figure function whose settings are already bound."""

    def __call__(self, vae: VAE, view: FigureData) -> Drawn:
        """Return the figure, or the frames of an animation."""


@dataclass(frozen=True)
class Pictures:
    """Figures by label, and the labels that the user asked for by name."""

    figures: dict[str, Draws]
    named: Collection[str]
    said: set[str] = field(default_factory=set)  # labels whose failure was already reported in this run


def choose_figures(chosen: Mapping[str, Any], final: str | Sequence[str], *, by_default: bool = False) -> Pictures:
    """Return the figures of figure=[...] and of `final`: a list of names, or "all" but those with `on_request: true`.

    With `by_default`, the figures in `chosen` were not asked for by name.

    Raises:
        ConfigError: a figure has a setting that does not exist or a value that is not allowed.
    """
    usual = [name for name in options("figure") if not (facts("figure", name) or {}).get("on_request")]
    found = nodes("figure", chosen, usual if final == "all" else final)
    for label, node in found.items():
        for name, most in COUNTS.items():
            if isinstance(node.get(name), int) and not 1 <= node[name] <= most:
                bound = "at least 1" if node[name] < 1 else f"at most {most}, because more cannot be seen"
                raise ConfigError(f"figure.{label.partition('-')[0]}.{name} must be {bound}, got {node[name]}")
    typed = nodes("figure", {} if by_default else chosen, [] if final == "all" else final)
    figures = {label: prepared(node, f"figure.{label.partition('-')[0]}", 2) for label, node in found.items()}
    return Pictures(figures, set(typed))


@torch.no_grad()
def draw_figures(chosen: Pictures, vae: VAE, view: FigureData) -> Iterator[tuple[str, bytes, str]]:
    """Yield label, content and suffix of each picture; warn of a figure that fails or, if asked for, does not suit."""
    from disvae.pictures.files import rendered  # here: a run that draws nothing need not wait for matplotlib
    from disvae.pictures.style import plain_style

    training = vae.training
    vae.eval()
    try:
        for label, figure in chosen.figures.items():
            try:
                with plain_style():
                    picture = rendered(figure(vae, view))
            except Exception as error:  # a missing picture must not end a run
                stop_if_asked()
                expected = isinstance(error, NotDrawable)
                if label not in chosen.said and (label in chosen.named or not expected):
                    why = "is not available" if expected else f"could not be drawn: {type(error).__name__}"
                    log.warning("figure %s %s: %s", label, why, error)
                chosen.said.add(label)
            else:
                yield label, *picture
    finally:
        vae.train(training)


def view_of(encoding: Encoding, config: Mapping[str, Any], folder: Path) -> FigureData:
    """Return the data that pictures of a run read: its encoding, curves and schedules.

    Pictures show a continuous factor in BINS classes of equally many images.
    """
    classes = replace(encoding, factors=binned(encoding.factors, BINS))
    names = objective_alone(config).latent_names(encoding.factor_names)
    return FigureData(classes, partial(curves, folder), schedules_of(config), config["steps"], names)


def schedules_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schedules of the objective in a resolved configuration, by the name of the weight."""
    return {
        name: make(node, f"schedule.{name}")
        for name, node in config["objective"].items()
        if is_option(node, "schedule")
    }


def view_of_run(
    run: Run, *, built: Built | None = None, device: torch.device | None = None
) -> tuple[VAE, FigureData, int]:
    """Return a trained run's VAE with its last weights, the data for its pictures, and its step.

    Raises:
        ConfigError: the checkpoint cannot be read.
    """
    config = run.config()
    settings = {**config["score"], "images": "validation", "codes": "mean", "transport": False, "controls": []}
    sources, protocol, _ = sources_of(run, settings, True, built, device or device_of(config))
    encoding = sources[MODEL][0]
    assert encoding.vae is not None
    return encoding.vae, view_of(encoding, config, run.path), protocol["step"]


def draw_run(
    run: Run, chosen: Pictures, *, built: Built | None = None, device: torch.device | None = None
) -> list[str]:
    """Draw pictures of a trained run from its last weights into its folder; return the names of the files.

    Raises:
        ConfigError: the checkpoint cannot be read, or the folder cannot be written.
    """
    if not chosen.figures:
        return []
    vae, view, step = view_of_run(run, built=built, device=device)
    try:
        run.figures.mkdir(exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"cannot write {run.figures}: {error.strerror}; make it writable and free disk space"
        ) from error
    written, pictures = [], []
    for label, content, suffix in draw_figures(chosen, vae, view):
        write_atomically(run.figures / f"{label}{suffix}", content)
        written.append(f"{label}{suffix}")
        pictures.append(picture_summary(label, content))
    replace_events(run.path, FIGURE_EVENTS, pictures, step)
    return written
