"""A run that somebody wants, and what remains to be done for it. Imports no torch."""

import difflib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from disvae.config import ConfigError, check_choices, check_settings, check_values, nodes, resolved
from disvae.runs.folder import Run, readable
from disvae.runs.identity import FILE_CHECKSUM
from disvae.runs.tags import MAIN_TERMS, main_term
from disvae.system.instantiate import make
from disvae.training.defaults import changes, check_experiment

Report = Callable[[str, int], None]
"""Is called with what a run does, `training` for example, and at which step."""


class JobFailed(CompactHydraException):
    """One job of a sweep failed, and why; the launcher goes on with the others."""


def packable(config: Mapping[str, Any]) -> bool:
    """Return whether runs of this configuration may be trained as packed runs; what is their own in a step forbids it.

    vmap knows nothing of autocast, and a pack has one trainer, whose steps end for all: callbacks, schedulers, loggers
    and the stop of a collapsed run act on one run.
    """
    alone = config["callbacks"] or config.get("scheduler") or set(config["logger"]) - {"tensorboard"}
    return not alone and config.get("on_collapse") != "stop" and config["trainer"]["precision"] != "bf16-mixed"


def _checksum(path: str, names: Sequence[str]) -> str:
    """Return the checksum of the data at dataset.path, of which the dataset reads the files `names` if it is a folder.

    Raises:
        ConfigError: the data cannot be read.
    """
    from disvae.data.checksum import path_checksum  # imports numpy, which a dataset without files does not need

    try:
        return path_checksum(Path(path).expanduser(), names)
    except OSError as error:
        raise ConfigError(
            f"dataset.path={path} cannot be read ({error}); type the path of your data: dataset.path=PATH"
        ) from error


def _used(run: Run, config: Mapping[str, Any]) -> bool:
    """Return whether a run that was made before configurations held FILE_CHECKSUM has the images of `config`."""
    if not run.path.exists():
        return False
    former, now = run.data_checksum(), config[FILE_CHECKSUM]
    return former in (None, now) or former == _content(json.dumps(config["dataset"]), now)


@functools.cache
def _content(dataset: str, file_checksum: str) -> str:
    """Return the checksum of a dataset's images and factors, which are read once for each `file_checksum`."""
    return str(make(json.loads(dataset), "dataset").checksum)


@dataclass(frozen=True)
class Job:
    """One run that was asked for, checked.

    `force` repeats a finished run beside what its folder holds, or goes on with a repeat that was begun. `overrides`
    are what was typed, `optimize` names the result for a sweeper, `brief` shows no progress, and `report` is called
    with the progress. `call` is the Python call that asked for it, if no command did.
    """

    run: Run
    config: Mapping[str, Any]
    overrides: tuple[str, ...] = ()
    force: bool = False
    optimize: str = "val/elbo"
    brief: bool = False
    report: Report | None = None
    call: str = ""

    @classmethod
    def of(
        cls, cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], varied: Sequence[str] = ()
    ) -> "Job":
        """Check a composed configuration and find its run folder; a new one is named first by what was `varied`.

        Raises:
            ConfigError: naming the key, its value and what to type.
        """
        check_choices(choices)
        check_values(cfg)
        check_settings(cfg, overrides, choices["objective"])
        check_experiment(cfg, choices, overrides)
        config = resolved(cfg)
        find = partial(Run.find, Path(cfg.out), choices["dataset"], "")
        run = find(config)
        if isinstance(path := cfg.dataset.get("path"), str):
            known = config | {FILE_CHECKSUM: _checksum(path, cfg.dataset.get("files") or ())}
            if find(known).path.exists() or not _used(run, known):
                run, config = find(known), known
        if not run.path.exists():
            named = changes(cfg, choices, varied)
            run = Run(run.path.with_name(readable(named, (), kept=len(varied)) + run.path.name))
        return cls(run, config, tuple(overrides), cfg.force, cfg.optimize)

    def claimed(self) -> "Job":
        """Return this job with its run folder made, or with another command's folder that has the same hash.

        Where there is nothing to repeat, `force` is dropped.

        Raises:
            ConfigError: the folder cannot be made.
        """
        run = self.run.claimed()
        return replace(self, run=run, force=self.force and bool(run.written()))

    @property
    def metrics_asked(self) -> bool:
        """Return whether metrics were typed; the usual ones are for a run that is trained anyway."""
        return self.typed("metric")

    @property
    def figures_asked(self) -> bool:
        """Return whether figures were typed."""
        return self.typed("figure")

    def typed(self, *beginnings: str) -> bool:
        """Return whether an override begins with one of `beginnings`."""
        return any(override.lstrip("+~").startswith(beginnings) for override in self.overrides)

    def remaining(self) -> str:
        """Return `training`, `scores` (or pictures) or, where nothing remains to be done, an empty string."""
        if self.force or not self.run.finished():
            return "training"
        wanted = nodes("metric", self.config["metric"], []).keys() if self.metrics_asked else set()
        figures = nodes("figure", self.config["figure"], []).keys() if self.figures_asked else set()
        return "scores" if wanted - self.run.scored() or figures - self.run.drawn() else ""

    def result(self) -> float:
        """Return the result that `optimize` names; a run without an ELBO has another main term instead of val/elbo.

        Raises:
            ConfigError: the run has no result of this name.
        """
        metrics = self.run.metrics()
        main = [f"val/{name}" for name in MAIN_TERMS]
        tag = f"val/{main_term(metrics)}" if self.optimize == main[0] else self.optimize
        if tag not in metrics:
            there = ", ".join(difflib.get_close_matches(self.optimize, metrics, n=3) or ["val/elbo"])
            raise ConfigError(
                f"optimize={self.optimize} is not among the results of {self.run.path}; there are {there} ..."
            )
        return metrics[tag]
