"""Output on the terminal: the tables that are printed at the end of a run."""

import shlex
from collections.abc import Container, Mapping
from typing import Any

from rich import table as rich
from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.text import Text

from disvae.runs.folder import Run
from disvae.runs.settings import SUPERVISED, flat_settings, supervision
from disvae.runs.tables import Table, failures, few_images, needed_images, scores_table, terms_table
from disvae.runs.verdict import verdict
from disvae.system.duration import duration

INTERVAL = "± half the 95 % confidence interval, for this number of images"
"""Caption that explains the ± in tables."""


TERMS = (
    "overlap and structure: the aggregate posterior of a fixed sample of images; loss: what the objective minimises, "
    "with its weights; minibatch estimates are in the curves"
)
"""Caption that explains the names of terms."""


def rich_table(of: Table, **options: Any) -> rich.Table:
    """Return a table for the terminal: best cells are bold, references below; hints and links are left out."""
    table = rich.Table(**{"box": SIMPLE_HEAD} | options)
    for head in of.heads:
        table.add_column(Text(head.text), justify="left" if head.is_text else "right", no_wrap=True)
    for rows, style in ((of.rows, ""), (of.references, "dim")):
        for row in rows:
            table.add_row(*(Text(cell.text, "bold" if cell.kind == "best" else "") for cell in row), style=style)
        table.add_section()
    return table


def needed_width(table: rich.Table, screen: Console) -> int:
    """Return the width that the longest lines of the table need."""
    return Measurement.get(screen, screen.options.update(width=10_000), table).maximum


def print_whole(table: rich.Table, screen: Console) -> None:
    """Print a table with all its columns; if the screen is too narrow for a row, the terminal breaks it."""
    width, screen.width = screen.width, max(screen.width, needed_width(table, screen))
    screen.print(table)
    screen.width = width


def print_result(run: Run) -> None:
    """Print the final terms and scores of a finished run, its folder and how to look at it."""
    screen = console()
    caption = f"{INTERVAL}; {TERMS}"
    table = rich_table(terms_table(run.metrics()), box=HEAVY_HEAD, caption=caption)
    for sentence in verdict(run):
        screen.print(sentence, highlight=False, markup=False)
    print_whole(table, screen)
    for note in notes(run):
        screen.print(note, highlight=False)
    print_scores(run.scores(), screen)
    said = spent(run)
    if said:
        screen.print(f"\n{said}", highlight=False)
    screen.print(f"\nRun folder:   {run.path}", highlight=False, soft_wrap=True)
    if any(run.path.glob("events.*")):
        screen.print(
            f"TensorBoard:  tensorboard --logdir {shlex.quote(str(run.path))}", highlight=False, soft_wrap=True
        )
    if run.report.is_file():
        screen.print(f"Page:         {run.report}", highlight=False, soft_wrap=True)


def print_scores(
    scores: Mapping[str, Any], screen: Console, only: Container[str] | None = None, details: str = "scores.json"
) -> None:
    """Print scores with the structure of scores.json: a row for each score; columns for the model and baselines.

    The failed metrics are listed with their reasons. `only` selects metrics; `details` names the file with all details.
    """
    for stage, found in scores.items():
        entries = {label: entry for label, entry in found.items() if only is None or label in only}
        if not entries:
            continue
        how = next(iter(entries.values()))["protocol"]
        screen.print(f"\n{stage}: {protocol(how)}; {INTERVAL}; details: {details}", highlight=False)
        for with_chance in (True, False):
            some = {label: of for label, of in entries.items() if bool(of["chance"]) == with_chance}
            table = rich_table(scores_table(some))
            if needed_width(table, screen) > screen.width:
                table = rich_table(scores_table(some, narrow=True))
            if table.rows:
                print_whole(table, screen)
        if how.get("constant_latents"):
            constant = f"{how['constant_latents']} of {how['latents']} latents are constant"
            screen.print(f"{constant}: they carry no information and add 0 to the scores", highlight=False)
        for line in few_images(needed_images(entries)):
            screen.print(line, highlight=False)
        for line in failures(entries):
            screen.print(f"failed: {line}", highlight=False)
        screen.print(f"computed with: {computed_how(entries)}", highlight=False)
        screen.print("definitions and units of the scores: docs/metrics.md", highlight=False)


def protocol(how: Mapping[str, Any]) -> str:
    """Return in words which images and codes the scores were computed from."""
    of = f" of {how['population']:,}" if how.get("population") else ""
    said = [f"{how['samples']:,}{of} images ({how['images']})"]
    said += [f"{name}: {how[name]}" for name in ("codes", "transport") if how.get(name)]
    if "runs" in how:
        said.append(f"{len(how['runs'])} runs")
    if how.get("state") in ("interrupted", "diverged", "failed"):
        said.append(f"run {how['state']} at step {how['step']:,}")
    return ", ".join(said)


def computed_how(entries: Mapping[str, Any]) -> str:
    """Return the settings of each metric in words."""
    return ", ".join(f"{label}({_settings(entry['settings'])})" for label, entry in entries.items())


def _settings(node: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in node.items() if key != "_target_")


def console() -> Console:
    """Return the terminal, which prints brackets as they are, because paths may hold them.

    Output that is no terminal has 120 columns.
    """
    return Console(markup=False, width=Console().width if Console().is_terminal else 120)


def spent(run: Run) -> str:
    """Return a line on how the time of the last session was spent, without start-up; empty if it is unknown."""
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
    """Return what to know beside the final terms of a run: its supervision, and a bound that is reached."""
    metrics, said = run.metrics(), []
    known = supervision(str(flat_settings(run.config())["objective"]))
    if known != "none":
        said.append(f"supervision: {known}: training was given {SUPERVISED[known]}")
    limit = metrics.get("val/overlap/mutual_information_limit")  # None: there is no ELBO
    if limit is not None and metrics["val/overlap/mutual_information"] > 0.9 * limit:
        said.append(
            f"I(x;z) is near its upper bound {limit:.2f}, the log of the number of validation images: with more images "
            "(eval_images, split.validation) I(x;z) and TC may be higher"
        )
    return said
