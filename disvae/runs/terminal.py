"""The table that ends a run."""

import math
from collections.abc import Container, Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from disvae.runs.folder import Run
from disvae.system.duration import duration

INTERVAL = "± half the 95 % interval"
COLUMNS = {"train": "last batch", "val": "validation", "held_out": "held out"}


def terms(metrics: Iterable[str]) -> list[str]:
    """Terms in the order they were logged, without per-latent vectors, standard errors and bounds."""
    names = dict.fromkeys(name.partition("/")[2] for name in metrics if name.partition("/")[0] in COLUMNS)
    return [name for name in names if not name.rpartition("/")[2].isdigit() and not name.endswith(("_se", "_limit"))]


def print_result(run: Run) -> None:
    """Final terms of a finished run, where it lies and how to look at it."""
    screen = console()
    metrics = run.metrics()
    stages = {stage: title for stage, title in COLUMNS.items() if any(name.startswith(f"{stage}/") for name in metrics)}
    caption = f"{INTERVAL}; overlap and structure: the aggregate posterior of a fixed sample of images"
    table = Table(title=run.path.name, caption=caption)
    table.add_column("nats per image", no_wrap=True)
    for title in stages.values():
        table.add_column(title, justify="right", no_wrap=True)
    for name in terms(metrics):
        cells = []
        for stage in stages:
            value = metrics.get(f"{stage}/{name}")
            error = metrics.get(f"{stage}/{name}_se")
            half = None if error is None else 1.96 * error
            cells.append("" if value is None else number(value, half))
        table.add_row(name, *cells)
    screen.print(table)
    for note in notes(run):
        screen.print(note, highlight=False)
    print_scores(run.scores(), screen)
    said = spent(run)
    if said:
        screen.print(f"\n{said}", highlight=False)
    screen.print(f"\nRun folder:   {run.path}", highlight=False, soft_wrap=True)
    screen.print(f"TensorBoard:  tensorboard --logdir {run.path}", highlight=False, soft_wrap=True)
    if run.report.is_file():
        screen.print(f"Page:         {run.report}", highlight=False, soft_wrap=True)


def print_scores(
    scores: Mapping[str, Any], screen: Console, only: Container[str] | None = None, details: str = "scores.json"
) -> None:
    """The scores of a run or of a file, as scores.json has them: a row a score, a column the model or a control.

    Details of a score are in the file `details`. What failed comes with its reason. `only` picks metrics.
    """
    for stage, found in scores.items():
        entries = {label: entry for label, entry in found.items() if only is None or label in only}
        if not entries:
            continue
        how = next(iter(entries.values()))["protocol"]
        screen.print(f"\n{stage}: {protocol(how)}; {INTERVAL}; details: {details}", highlight=False, soft_wrap=True)
        alone = {label: entry for label, entry in entries.items() if not entry["chance"]}
        for table in (_table(entries.keys() - alone.keys(), entries), _table(alone.keys(), entries)):
            if table.row_count:
                screen.print(table)
        if how.get("constant_latents"):
            constant = f"{how['constant_latents']} of {how['latents']} latents are constant"
            screen.print(f"{constant}: they say nothing and add 0 to the scores", highlight=False)
        reasons: dict[str, dict[str, list[str]]] = {}
        for label, entry in entries.items():
            for source, reason in entry["failed"].items():
                reasons.setdefault(reason, {}).setdefault(label, []).append(source)
        for reason, failed in reasons.items():
            whose = ", ".join(f"{label} ({', '.join(sources)})" for label, sources in failed.items())
            screen.print(f"failed: {whose}: {reason}", highlight=False)
        screen.print(f"computed with: {computed_how(entries)}", highlight=False)
        screen.print("what each score is, in which unit, and whether more is better: docs/metrics.md", highlight=False)


def _table(labels: Container[str], found: Mapping[str, Any]) -> Table:
    """Some of the metrics' scores."""
    entries = {label: entry for label, entry in found.items() if label in labels}
    columns = list(dict.fromkeys(s for entry in entries.values() for of in entry["scores"].values() for s in of))
    table = Table(box=SIMPLE_HEAD)
    table.add_column("score", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    with_chance = any(entry["chance"] for entry in entries.values())
    if with_chance:
        table.add_column("chance", justify="right", no_wrap=True)
    for label, entry in entries.items():
        for name, sources in entry["scores"].items():
            if "/" not in name:
                chance = [f"{entry['chance'][name]:.2g}" if name in entry["chance"] else ""] if with_chance else []
                table.add_row(f"{label}/{name}", *(_cell(sources.get(column)) for column in columns), *chance)
    return table


def protocol(how: Mapping[str, Any]) -> str:
    """Which images and codes scores are of."""
    of = f" of {how['population']:,}" if how.get("population") else ""
    said = [f"{how['samples']:,}{of} images ({how['images']})"]
    said += [f"{name}: {how[name]}" for name in ("codes", "transport") if how.get(name)]
    if "runs" in how:
        said.append(f"{len(how['runs'])} runs")
    if how.get("state") in ("interrupted", "diverged", "failed"):
        said.append(f"of a run that is {how['state']} at step {how['step']:,}")
    return ", ".join(said)


def computed_how(entries: Mapping[str, Any]) -> str:
    """The settings of each metric of scores.json."""
    return ", ".join(f"{label}({_settings(entry['settings'])})" for label, entry in entries.items())


def _settings(node: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in node.items() if key != "_target_")


def _cell(score: Mapping[str, float | None] | None) -> str:
    if score is None:
        return ""
    value, low, high = (score[key] for key in ("value", "low", "high"))
    assert value is not None
    return number(value, None if low is None or high is None else (high - low) / 2)


def number(value: float, half: float | None) -> str:
    """A number to the digits that its interval, `half` to each side, leaves it: `0.196 ±0.036`."""
    if abs(value) < 1e-12:
        value = 0.0
    if half is None or not half < math.inf:
        return f"{value:.4g}"
    if half == 0:
        return f"{value:.4g} ±0"
    decimals = min(max(1 - math.floor(math.log10(half)), 0), 3)
    return f"{round(value, decimals) + 0.0:.{decimals}f} ±{half:.{decimals}f}"


def console() -> Console:
    """The terminal, at least 120 columns: a narrower one wraps lines, where a table would leave numbers out."""
    return Console(width=max(120, Console().width if Console().is_terminal else 0))


def spent(run: Run) -> str:
    """Where the time of the last session went, start-up left out; empty where it was not noted."""
    sessions = run.provenance().get("sessions") or [{}]
    seconds: dict[str, float] = sessions[-1].get("seconds", {})
    total = sum(seconds.values())
    if not total:
        return ""
    shares = [f"{name} {part / total:.0%}" for name, part in seconds.items()]
    packed = sessions[-1].get("packed", 1)
    others = f", of {packed} runs trained together" if packed > 1 else ""
    return f"Time:         {duration(total)}{others}: {', '.join(shares)}"


def notes(run: Run) -> list[str]:
    """What a reader should know of these numbers: a collapsed posterior, a bound that is reached."""
    z_dim, metrics = run.config()["z_dim"], run.metrics()
    said = []
    if "val/active_units" in metrics:  # not for a posterior without a mean
        active = round(metrics["val/active_units"])
        if active == 0:
            said.append("posterior collapse: the codes say nothing of the images; try a lower or a warmed-up beta")
        else:
            said.append(f"{active} of {z_dim} latents are active (variance of their mean over images above 0.01)")
    limit = metrics["val/overlap/mutual_information_limit"]
    if metrics["val/overlap/mutual_information"] > 0.9 * limit:
        said.append(
            f"I(x;z) is near {limit:.2f}, the log of the number of validation images and its bound: with more of them "
            "(eval_images, split.validation) I(x;z) and TC could come out higher"
        )
    return said
