"""Recipes: experiments that test the claims of a paper, with a table of claims, published values, ours and verdicts.

    python -m disvae.train -m experiment=burgess_capacity

A recipe is one YAML, conf/experiment/NAME.yaml: settings, the runs of its sweep and its claims. When the sweep ends, a
table is printed, and the findings are written to recipes/NAME.json and recipes/NAME.html in the folder `out`. What no
metric measures is in a subclass of Recipe, in a Python file of the same name.
"""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from rich import table as rich
from rich.box import SIMPLE_HEAD
from rich.text import Text

from disvae.comparison.row import of_run
from disvae.config import ConfigError
from disvae.experiment.claims import Claim, Curves, claims, findings_table, judge, record
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import curves
from disvae.runs.folder import Run
from disvae.runs.provenance import commit_of_package, now
from disvae.runs.tables import Table
from disvae.runs.terminal import console
from disvae.training.job import Job

if TYPE_CHECKING:  # imported when the sweep is over: the command line must start fast
    from matplotlib.figure import Figure

RECIPES = "recipes"
"""The folder of the findings, in the folder `out` of the runs."""

NO_CHANGE = ("experiment", "out", "launcher", "force", "dataset.path")
"""Overrides that leave the runs of a recipe what they are; a data file counts by its checksum, wherever it is."""


class Recipe(Callback):
    """A Hydra callback that judges the claims of an experiment when its last job is done, from all runs, old and new.

    `claims` have the form that experiment/claims.py describes. `cost` says how long the runs take, `note` what a reader
    of the table must know. A subclass may override `measure`, `exact` and `draw`.
    """

    def __init__(self, *, claims: Mapping[str, Any], cost: str, note: str = "") -> None:
        node = OmegaConf.to_container(claims, resolve=True) if OmegaConf.is_config(claims) else claims
        self.claims = _claims(node)
        self.cost = cost
        self.note = note
        self.runs: dict[Path, Run] = {}

    def measure(self, run: Run) -> dict[str, float]:
        """Return values of a finished run, by name, beside those in its metrics.json."""
        return {}

    def exact(self) -> dict[str, float]:
        """Return values, by name, that need no runs."""
        return {}

    def draw(self, runs: Sequence[Run]) -> "Figure | None":
        """Return the picture that stands beside the claims, if the experiment has one of its own."""
        return None

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Remember the run folder of a completed job."""
        if job_return.status == JobStatus.COMPLETED:
            run = Job.of(config, (), dict(config.hydra.runtime.choices)).run
            self.runs[run.path] = run

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Judge the claims, print the table and write the findings."""
        same = tuple(name + sign for name in NO_CHANGE for sign in "=.")
        typed = [override for override in config.hydra.overrides.task if not override.lstrip("+~").startswith(same)]
        self.conclude(str(config.hydra.runtime.choices["experiment"]), Path(config.out), typed)

    def conclude(self, name: str, out: Path, changed: Sequence[str]) -> None:
        """Judge the claims by the runs, print the table, and write recipes/NAME.json and recipes/NAME.html.

        `changed` are the settings that were typed, by which the runs differ from those of the recipe.
        """
        runs = list(self.runs.values())
        findings = judge(self.claims, [self._values(run) for run in runs], self.exact())
        screen = console()
        screen.print(_printed(findings_table(findings), f"{name}: claims and findings"))
        folder = out / RECIPES
        folder.mkdir(parents=True, exist_ok=True)
        note = self.note
        if changed:
            note = f"Not the runs of the recipe itself: {' '.join(changed)}. {note}"
        screen.print(note, highlight=False)
        facts = {"recipe": name, "time": now(), **commit_of_package(), "machine": machine(), "note": note}
        paths = [os.path.relpath(run.path, out) for run in runs]
        rows = {label: record(finding) for label, finding in findings.items()}
        whole = {**facts, "changed": list(changed), "runs": paths, "claims": rows}
        write_atomically(folder / f"{name}.json", json.dumps(whole, indent=1) + "\n")
        from disvae.experiment.recipe_page import write_recipe_page
        from disvae.pictures.style import plain_style

        with plain_style():
            write_recipe_page(folder / f"{name}.html", facts, findings, self.draw(runs) if runs else None)
        screen.print(f"Page:  {folder / f'{name}.html'}", highlight=False, soft_wrap=True)

    def _values(self, run: Run) -> Curves:
        row = of_run(run)
        with_steps = any(claim.steps is not None for claim in self.claims.values())
        found = {tag: (curve.steps, curve.values) for tag, curve in curves(run.path).items()} if with_steps else {}
        return Curves(row.settings, {**row.metrics, **self.measure(run)}, found)


def _claims(node: Any) -> dict[str, Claim]:
    try:
        return claims(node)
    except ConfigError as error:
        raise ConfigError(f"hydra.callbacks.recipe.claims: {error}") from error


def run_codes(run: Run) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the codes (N, D), factors (N, K) and names of the factors that the scores of a run are computed from."""
    from disvae.evaluation.codes_file import read_codes
    from disvae.statistics.latents import informative

    arrays = read_codes(run.path / "encoding.h5", without=("controls/",))
    codes = informative(arrays["codes"].astype(np.float64))
    return codes, arrays["factors"], [str(name) for name in arrays["factor_names"]]


def stored(out: Path, name: str) -> dict[str, Any]:
    """Return the findings that are stored for a recipe; empty if there are none.

    Raises:
        ConfigError: the file is damaged.
    """
    path = out / RECIPES / f"{name}.json"
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("time", "runs", "claims", "changed")}
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path} is not readable ({error}): delete it, and train the recipe again") from error


def _printed(of: Table, title: str) -> rich.Table:
    """Return the table for the terminal, with long texts on several lines."""
    printed = rich.Table(*(head.text for head in of.heads), title=title, box=SIMPLE_HEAD, padding=(0, 1, 1, 0))
    for row in of.rows:
        printed.add_row(*(Text(cell.text) for cell in row))
    return printed


def machine() -> str:
    """Return the machine in words: processor architecture, number of cores, system."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
