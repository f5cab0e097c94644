"""Write one self-contained page that shows everything a run's folder holds. Imports no torch."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disvae.config import option_files
from disvae.pictures.html import Picture, data_address, picture, render
from disvae.pictures.style import DATA, MODEL, clear, plain_style
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import Curve, curves
from disvae.runs.folder import Run
from disvae.runs.provenance import now
from disvae.runs.settings import WEIGHTS, flat_settings
from disvae.runs.tables import Cell, Head, Table, Z, failures, few_images, needed_images, scores_table, terms_table
from disvae.runs.tags import better, main_term, said
from disvae.runs.terminal import INTERVAL, TERMS, computed_how, notes, protocol, spent
from disvae.runs.verdict import verdict
from disvae.system.help import description

FIRST = {"elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL", "information": "information"}
"""Terms whose curves come first; terms of the objective follow, then terms measured for every objective."""


ROUNDING = 1e-6
"""Relative differences up to this are rounding in float32, and a curve that varies no more is a constant."""


@plain_style()
def write_page(run: Run, path: Path, *, name: str = "", state: str = "") -> Path:
    """Write the page and return its path; sections whose data do not exist yet are left out.

    The run's `name` and `state` are read from its folder, unless they are about to change.

    Raises:
        ConfigError: a file of the run cannot be read, or the page cannot be written.
    """
    config, status, metrics = run.config(), run.status(), run.metrics()
    scored = main_term(metrics) is not None
    error = f": {status['error']}" if status.get("error") else ""
    page = render(
        "pictures/run_page.html.jinja",
        title=_title(config),
        name=name or run.path.resolve().name,
        state=f"{state or run.state()} at step {status['step']:,} of {config['steps']:,}{error}",
        now=now(),
        in_short=", ".join(
            f"{word} {metrics[f'val/{name}']:.4g}" for name, word in FIRST.items() if f"val/{name}" in metrics
        ),
        notes=[*verdict(run), *notes(run)] if scored else [],
        about_terms=TERMS,
        explorer=(run.path / "explore.html").is_file() and path.absolute().parent == run.path.absolute(),
        interval=INTERVAL,
        sections={
            "pictures": _pictures(run),
            "curves": _curves(curves(run.path)),
            "terms": terms_table(run.metrics()),
            "scores": _scores(run),
            "configuration": _configuration(run),
            "origin": _origin(run),
        },
    )
    write_atomically(path, page)
    return path


def _title(config: Mapping[str, Any]) -> str:
    """Return the objective with its weights, the dataset and the seed: `beta_tc, beta=6 on sprites, seed 0`."""
    settings = flat_settings(config)
    seed = settings["seed"]
    weights = [f"{name}={settings[name]:g}" for name in WEIGHTS if isinstance(settings.get(name), float | int)]
    return f"{', '.join([str(settings['objective']), *weights])} on {settings['dataset']}, seed {seed:g}"


def _pictures(run: Run) -> list[Picture]:
    """Return the pictures in the folder figures/, those drawn at each validation first."""
    shown = []
    captions = option_files("figure")
    usual = list(run.config().get("figure", {}))
    for file in sorted(run.figures.glob("*.*"), key=lambda file: (_place(file.stem, usual), file.name)):
        name, _, changed = file.stem.partition("-")
        caption = description(captions[name]) if name in captions else ""
        title = name.replace("_", " ").capitalize().replace("Kl ", "KL ") + (f" ({changed})" if changed else "")
        shown.append(Picture(data_address(file.read_bytes(), file.suffix[1:]), title, caption=caption))
    return shown


def _place(label: str, usual: Sequence[str]) -> int:
    name = label.partition("-")[0]
    return usual.index(name) if name in usual else len(usual)


def _curves(found: Mapping[str, Curve]) -> list[Picture]:
    """Return a chart over the optimiser steps for each term and score that varies."""
    names = dict.fromkeys(tag.partition("/")[2] for tag in found if tag.startswith(("val/", "train/")))
    kept = [name for name in names if not re.search(r"(_se|_limit|/\d+)$", name)]
    wide = [name for name in kept if "/" in name]
    own = [name for name in kept if name not in FIRST and name not in wide]
    scores = [tag for tag in found if re.fullmatch(r"metric[^/]*/[^/]+/[^/]+", tag)]
    ordered = [name for name in FIRST if name in kept] + own + wide
    drawn = [_terms_curve(name, found) for name in ordered]
    drawn += [_chart(tag.partition("/")[2], [(found[tag], None, "validation", MODEL)], said(tag)) for tag in scores]
    return [picture(figure, title) for title, figure in drawn if figure is not None]


def _terms_curve(name: str, found: Mapping[str, Curve]) -> tuple[str, Figure | None]:
    lines = [
        (found[f"{stage}/{name}"], found.get(f"{stage}/{name}_se"), word, colour)
        for stage, word, colour in (("train", "training", DATA), ("val", "validation", MODEL))
        if f"{stage}/{name}" in found
    ]
    return _chart(name, lines, said(f"val/{name}") if better(f"val/{name}") else "")


def _chart(title: str, lines: Sequence[tuple[Curve, Curve | None, str, str]], end: str) -> tuple[str, Figure | None]:
    values = np.concatenate([curve.values for curve, *_ in lines])
    if all(len(curve.steps) < 2 for curve, *_ in lines) or np.ptp(values) <= ROUNDING * np.abs(values).max():
        return title, None  # a point, or a constant, which float32 may round
    figure = Figure(figsize=(3.9, 2.3))
    axes: Axes = figure.add_axes((0.17, 0.13, 0.8, 0.74))  # a fitted layout would take as long as the drawing
    shown = []
    for curve, error, word, colour in lines:
        shown.append(curve.values[len(curve.values) // 50 :])  # without the first steps, which would flatten the rest
        noisy = word == "training"
        axes.plot(curve.steps, curve.values, color=colour, linewidth=0.8 if noisy else 1.8, alpha=0.6 if noisy else 1)
        if error is not None and len(error.values) == len(curve.values):
            half = Z * error.values
            shown += [(curve.values + sign * half)[len(half) // 50 :] for sign in (-1, 1)]
            axes.fill_between(curve.steps, curve.values - half, curve.values + half, color=colour, alpha=0.2, lw=0)
    values = np.concatenate(shown)
    values = values[np.isfinite(values)]
    if len(values) and np.ptp(values) > 0:
        low = np.quantile(values, 0.01, method="lower")  # with few points the axis shows all of them
        high = np.quantile(values, 0.99, method="higher")
        room = 0.08 * (high - low) or 0.1
        axes.set_ylim(low - room, high + room)
    axes.set_title(title + (f"  ({end})" if end else ""), fontsize=9, loc="left")
    axes.xaxis.set_major_formatter(mpl.ticker.EngFormatter(sep=""))
    axes.ticklabel_format(axis="y", useOffset=False)
    clear(axes)
    return title, figure


def _scores(run: Run) -> list[dict[str, Any]]:
    """Return the scores of each stage: protocol, table, settings, and the reasons for scores that are missing."""
    return [
        {
            "name": stage,
            "protocol": protocol(next(iter(entries.values()))["protocol"]),
            "table": scores_table(entries),
            "few_images": few_images(needed_images(entries)),
            "failures": failures(entries),
            "computed_how": computed_how(entries),
        }
        for stage, entries in run.scores().items()
    ]


def _configuration(run: Run) -> dict[str, Any]:
    """Return a table of the settings that decide the numbers, and the whole configuration as YAML."""
    config = run.config()
    rows = []
    for name, value in flat_settings(config).items():
        said = f"{value:g}" if isinstance(value, float) else str(value)
        rows.append([Cell(name, kind="text"), Cell(said, kind="text")])
    heads = [Head("setting", is_text=True), Head("value", is_text=True)]
    return {"table": Table(heads, rows), "whole": yaml.safe_dump(config, sort_keys=False)}


def _origin(run: Run) -> dict[str, Any] | None:
    """Return how long each part took, and each session's command and facts; None if nothing was recorded."""
    sessions = []
    for session in run.provenance().get("sessions", []):
        facts = {key: value for key, value in session.items() if key not in ("command", "packages", "seconds")}
        facts |= session.get("packages", {})
        said = "\n".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
        sessions.append((session.get("command", ""), said))
    return {"spent": spent(run), "sessions": sessions} if sessions else None
