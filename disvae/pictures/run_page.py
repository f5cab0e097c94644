"""One self-contained page of a run, of what its folder holds. Imports no torch."""

import base64
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from disvae.config import conf_dir, description
from disvae.pictures.html import Cell, Head, anchor, page, picture, section, table
from disvae.pictures.style import DATA, MODEL, clear
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import Curve, curves
from disvae.runs.folder import Run, now
from disvae.runs.settings import flat
from disvae.runs.tags import better, said
from disvae.runs.terminal import COLUMNS, INTERVAL, computed_how, notes, number, protocol, spent, terms

FIRST = ("elbo", "reconstruction", "kl")
"""Terms whose curves come first; then those of the objective, then those that are measured for every objective."""

Z = 1.96
"""Standard errors from the value to the end of its 95 % interval."""


def write_page(run: Run, path: Path) -> Path:
    """Write the page; what the folder does not hold yet is left out. Returns where it is.

    Raises:
        ConfigError: a file of the run cannot be read, or the page not written.
    """
    found = curves(run.path)
    parts = [_pictures(run), _curves(found), _terms(run), _scores(run), _configuration(run), _origin(run)]
    body = "\n".join([_header(run, path, list(filter(None, parts))), *filter(None, parts)])
    write_atomically(path, page(run.path.resolve().name, body))
    return path


def _header(run: Run, path: Path, parts: Sequence[str]) -> str:
    config, status, metrics = run.config(), run.status(), run.metrics()
    dataset = config["dataset"]["_target_"].split(".")[-2]
    state = run.state()
    lines = [f"<h1>{escape(run.path.resolve().name)}</h1>"]
    where = f"{state} at step {status['step']:,} of {config['steps']:,}"
    error = f": {status['error']}" if status.get("error") else ""
    lines.append(f"<p><b>{escape(dataset)}</b>, {escape(where + error)}; page of {escape(now())}</p>")
    if "val/elbo" in metrics:
        short = [f"{name} {metrics[f'val/{name}']:.4g}" for name in ("elbo", "reconstruction", "kl")]
        text = ", ".join(short).replace("elbo", "ELBO").replace(" kl", " KL")
        lines.append(f"<p>{escape(text)} nats per validation image</p>")
        lines += [f"<p>{escape(note[0].upper() + note[1:])}.</p>" for note in notes(run)]
    links = [f'<a href="#{anchor(title)}">{title}</a>' for title in _titles(parts)]
    if (run.path / "explore.html").is_file() and path.absolute().parent == run.path.absolute():
        links.append('<a href="explore.html">Explore: move the latents</a>')
    return "\n".join([*lines, f"<nav>{''.join(links)}</nav>"])


def _titles(parts: Iterable[str]) -> list[str]:
    return [part.partition("<h2>")[2].partition("</h2>")[0] for part in parts]


def _pictures(run: Run) -> str:
    shown = []
    usual = list(run.config().get("figure", {}))
    files = sorted(run.figures.glob("*.*"), key=lambda file: (_place(file.stem, usual), file.name))
    for file in files:
        name, _, changed = file.stem.partition("-")
        option = conf_dir() / "figure" / f"{name}.yaml"
        caption = description(option) if option.is_file() else ""
        title = name.replace("_", " ").capitalize().replace("Kl ", "KL ") + (f" ({changed})" if changed else "")
        data = base64.b64encode(file.read_bytes()).decode()
        image = f'<img src="data:image/{file.suffix[1:]};base64,{data}" alt="{escape(title)}">'
        said = f"<figcaption><b>{escape(title)}.</b> {escape(caption)}</figcaption>"
        shown.append(f"<figure>{image}{said}</figure>")
    if not shown:
        return ""
    caption = "Of the last weights and a fixed sample of validation images; latents are in the same order everywhere."
    return section("Pictures", [f'<div class="pictures">{"".join(shown)}</div>'], caption)


def _place(label: str, usual: Sequence[str]) -> int:
    name = label.partition("-")[0]
    return usual.index(name) if name in usual else len(usual)


def _curves(found: Mapping[str, Curve]) -> str:
    names = dict.fromkeys(tag.partition("/")[2] for tag in found if tag.startswith(("val/", "train/")))
    kept = [name for name in names if not re.search(r"(_se|_limit|/\d+)$", name)]
    wide = [name for name in kept if "/" in name]
    own = [name for name in kept if name not in FIRST and name not in wide]
    scores = [tag for tag in found if re.fullmatch(r"metric[^/]*/[^/]+/[^/]+", tag)]
    ordered = [name for name in FIRST if name in kept] + own + wide
    drawn = [_terms_curve(name, found) for name in ordered]
    drawn += [_chart(tag.partition("/")[2], [(found[tag], None, "validation", MODEL)], said(tag)) for tag in scores]
    panels = [picture(figure, title) for title, figure in drawn if figure is not None]
    caption = (
        "Along the optimiser steps, nats per image unless a score, a count or a weight: blue the training batches, "
        "orange the validation sample with its 95 % interval where one is known."
    )
    return section("Curves", [f'<div class="panels">{"".join(panels)}</div>'] if panels else [], caption)


def _terms_curve(name: str, found: Mapping[str, Curve]) -> tuple[str, Figure | None]:
    lines = [
        (found[f"{stage}/{name}"], found.get(f"{stage}/{name}_se"), word, colour)
        for stage, word, colour in (("train", "training", DATA), ("val", "validation", MODEL))
        if f"{stage}/{name}" in found
    ]
    return _chart(name, lines, said(f"val/{name}") if better(f"val/{name}") else "")


def _chart(title: str, lines: Sequence[tuple[Curve, Curve | None, str, str]], end: str) -> tuple[str, Figure | None]:
    values = np.concatenate([curve.values for curve, *_ in lines])
    if all(len(curve.steps) < 2 for curve, *_ in lines) or len(np.unique(values)) == 1:
        return title, None  # a point, or a constant
    figure = Figure(figsize=(3.9, 2.3), layout="constrained")
    axes: Axes = figure.add_subplot()
    for curve, error, word, colour in lines:
        noisy = word == "training"
        axes.plot(curve.steps, curve.values, color=colour, linewidth=0.8 if noisy else 1.8, alpha=0.6 if noisy else 1)
        if error is not None and len(error.values) == len(curve.values):
            half = Z * error.values
            axes.fill_between(curve.steps, curve.values - half, curve.values + half, color=colour, alpha=0.2, lw=0)
    values = np.concatenate([curve.values[len(curve.values) // 50 :] for curve, *_ in lines])
    values = values[np.isfinite(values)]
    if len(values) and np.ptp(values) > 0:
        low = np.quantile(values, 0.01, method="lower")  # of few points all are seen
        high = np.quantile(values, 0.99, method="higher")
        room = 0.08 * (high - low) or 0.1
        axes.set_ylim(low - room, high + room)
    axes.set_title(title + (f"  ({end})" if end else ""), fontsize=9, loc="left")
    axes.xaxis.set_major_formatter(mpl.ticker.EngFormatter(sep=""))
    clear(axes)
    return title, figure


def _terms(run: Run) -> str:
    metrics = run.metrics()
    stages = {stage: title for stage, title in COLUMNS.items() if any(name.startswith(f"{stage}/") for name in metrics)}
    rows = []
    for name in terms(metrics):
        cells = [Cell(name, kind="text")]
        for stage in stages:
            value, error = metrics.get(f"{stage}/{name}"), metrics.get(f"{stage}/{name}_se")
            text = "" if value is None else number(value, None if error is None else Z * error)
            cells.append(Cell(text, "" if value is None else repr(value)))
        rows.append(cells)
    heads = [Head("nats per image", is_text=True), *(Head(title) for title in stages.values())]
    caption = f"{INTERVAL}. Overlap and structure: the aggregate posterior of the fixed sample."
    return section("Terms", [table(heads, rows)] if rows else [], caption)


def _scores(run: Run) -> str:
    parts = []
    for stage, entries in run.scores().items():
        how = next(iter(entries.values()))["protocol"]
        parts.append(f"<h3>{escape(stage)}: {escape(protocol(how))}</h3>")
        parts.append(_scores_table(entries))
        for label, entry in entries.items():
            for source, reason in entry["failed"].items():
                parts.append(f"<p>failed: {escape(f'{label} ({source}): {reason}')}</p>")
        parts.append(f'<p class="soft">Computed with {escape(computed_how(entries))}.</p>')
    caption = (
        f"{INTERVAL}. Beside the model its negative controls: the network before training, principal and independent "
        "components of the pixels, random rotations of the learnt codes, and what chance scores. A score is worth "
        "what it has over these. ↑ higher is better, ↓ lower."
    )
    return section("Scores", parts, caption)


def _scores_table(entries: Mapping[str, Any]) -> str:
    sources = list(dict.fromkeys(s for entry in entries.values() for of in entry["scores"].values() for s in of))
    rows = []
    for label, entry in entries.items():
        for name, scores in entry["scores"].items():
            if "/" in name:
                continue
            arrow = {1: " ↑", -1: " ↓", 0: ""}[better(f"metric/{label}/{name}")]
            details = [
                f"{detail.partition('/')[2]} {of[sources[0]]['value']:.4g}"
                for detail, of in entry["scores"].items()
                if detail.startswith(f"{name}/") and sources[0] in of
            ]
            cells = [Cell(f"{label}/{name}{arrow}", kind="text", hint=", ".join(details))]
            cells += [_score(scores.get(source)) for source in sources]
            chance = entry["chance"].get(name)
            cells.append(Cell("", "") if chance is None else Cell(f"{chance:.2g}", repr(chance)))
            rows.append(cells)
    heads = [Head("score", is_text=True), *(Head(source, descending=True) for source in sources), Head("chance")]
    return table(heads, rows)


def _score(of: Mapping[str, float | None] | None) -> Cell:
    if of is None or of["value"] is None:
        return Cell("", "")
    low, high = of["low"], of["high"]
    return Cell(number(of["value"], None if low is None or high is None else (high - low) / 2), repr(of["value"]))


def _configuration(run: Run) -> str:
    config = run.config()
    rows = []
    for name, value in flat(config).items():
        said = f"{value:g}" if isinstance(value, float) else str(value)
        rows.append([Cell(name, kind="text"), Cell(said, kind="text")])
    whole = escape(yaml.safe_dump(config, sort_keys=False))
    parts = [
        table([Head("knob", is_text=True), Head("value", is_text=True)], rows),
        f"<details><summary>The whole configuration</summary><pre>{whole}</pre></details>",
    ]
    return section("Configuration", parts, "What decides the numbers; the hash in the run's name is of these.")


def _origin(run: Run) -> str:
    parts = [f"<p>{escape(spent(run))}</p>"] if spent(run) else []
    for session in run.provenance().get("sessions", []):
        facts = {key: value for key, value in session.items() if key not in ("command", "packages", "seconds")}
        facts |= session.get("packages", {})
        said = "\n".join(f"{key}: {value}" for key, value in facts.items() if value is not None)
        parts.append(f"<pre>{escape(str(session.get('command', '')))}</pre>")
        parts.append(f"<details><summary>Machine, versions, data</summary><pre>{escape(said)}</pre></details>")
    return section("Where it comes from", parts, "Commands, one for each session of the run.")
