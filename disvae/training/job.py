"""What a command asks of one run, and what of it is left to do. Imports no torch until there is."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.errors import CompactHydraException
from omegaconf import DictConfig

from disvae import config as knobs
from disvae.config import ConfigError
from disvae.runs.folder import Run, readable
from disvae.system.imports import loading
from disvae.system.signals import interruptible

if TYPE_CHECKING:
    from disvae.training.run_trainer import Asked

Report = Callable[[str, int], None]
"""Told what a run does, `training`, and at which step."""


class JobFailed(CompactHydraException):
    """One job of a sweep failed, and why; the launcher goes on with the others."""


@dataclass(frozen=True)
class Task:
    """One run that was asked for, checked."""

    run: Run
    config: dict[str, Any]
    overrides: tuple[str, ...]
    force: bool
    optimize: str

    @classmethod
    def of(cls, cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any]) -> "Task":
        """Check a composed configuration and find its run folder.

        Raises:
            ConfigError: naming the key, its value and what to type.
        """
        knobs.check_choices(choices)
        knobs.check_values(cfg)
        knobs.check_knobs(cfg, overrides, choices["objective"])
        config = knobs.resolved(cfg)
        skip = ("dataset", "dataset.path", *(f"trainer.{key}" for key in knobs.WHERE_IT_RUNS))
        run = Run.find(Path(cfg.out), choices["dataset"], readable(overrides, skip), config)
        return cls(run, config, tuple(overrides), cfg.force, cfg.optimize)

    def claimed(self) -> "Task":
        """Return the same with the run folder made, or another command's with the same hash; called before it is done.

        Where there is nothing to repeat, `force` is dropped.

        Raises:
            ConfigError: it cannot be made.
        """
        run = self.run.claimed()
        return replace(self, run=run, force=self.force and bool(run.written()))

    @property
    def metrics_asked(self) -> bool:
        """Whether metrics were chosen by hand; the usual ones are for a run that is trained anyway."""
        return self._typed("metric")

    @property
    def figures_asked(self) -> bool:
        """Whether figures were."""
        return self._typed("figure")

    def _typed(self, *beginnings: str) -> bool:
        return any(override.lstrip("+~").startswith(beginnings) for override in self.overrides)

    def left(self) -> str:
        """`training`, `scores` (or pictures) or, where nothing is left to do, ``."""
        if self.force or not self.run.finished():
            return "training"
        wanted = knobs.nodes("metric", self.config["metric"], []).keys() if self.metrics_asked else set()
        figures = knobs.nodes("figure", self.config["figure"], []).keys() if self.figures_asked else set()
        return "scores" if wanted - self.run.scored() or figures - self.run.drawn() else ""

    def do(self, *, brief: bool, report: Report | None = None) -> bool:
        """Train or resume, or score what is trained; False where somebody else had done it.

        `brief` shows no progress; `report` is told of it.

        Raises:
            ConfigError: the parts cannot go together, or a file cannot be read or written.
            InUse: another process trains this very run.
            Stopped: the loss diverged or a signal came.
        """
        left = self.left()
        if left == "training":
            with loading():
                from disvae.training.loop import fit

            return fit(self._asked(brief, report))
        print(f"Already finished: {self.run.path} (force=true repeats it)")
        if left == "scores":
            with loading():
                from disvae.evaluation import run_scores as evaluation
                from disvae.pictures import run_figures as drawing
                from disvae.pictures.run_page import write_page

            if report:
                report("scoring", self.config["steps"])
            with interruptible(), self.run.lock():
                if self.metrics_asked:
                    metrics = evaluation.choose(self.config["metric"], []).of_one()
                    evaluation.evaluate(self.run, metrics, self.config["score"])
                if self.figures_asked:
                    drawing.draw_run(self.run, drawing.choose(self.config["figure"], []))
                if self.run.report.exists():
                    write_page(self.run, self.run.report)
            return True
        if self._typed("final", "score."):
            print(f"For other scores of it: python -m disvae.evaluate {self.run.path} metric=[...] score.NAME=VALUE")
        return False

    def _asked(self, brief: bool, report: Report | None) -> "Asked":
        from disvae.training.run_trainer import Asked

        return Asked(self.run, self.config, self.force, brief, not self.metrics_asked, not self.figures_asked, report)

    def result(self) -> float:
        """The result that `optimize` names.

        Raises:
            ConfigError: the run has none of this name.
        """
        metrics = self.run.metrics()
        if self.optimize not in metrics:
            there = ", ".join(difflib.get_close_matches(self.optimize, metrics, n=3) or ["val/elbo"])
            raise ConfigError(
                f"optimize={self.optimize} is not among the results of {self.run.path}; there are {there} ..."
            )
        return metrics[self.optimize]

    def print_result(self, *, brief: bool) -> None:
        """The final table; `brief`: a line."""
        if brief:
            from disvae.runs.terminal import notes

            print(
                f"{self.run.path.name}: validation ELBO {self.run.metrics()['val/elbo']:.4g} nats per image",
                *(note for note in notes(self.run) if "collapse" in note),
                sep=" · ",
            )
        else:
            from disvae.runs.terminal import print_result

            print_result(self.run)


def do_together(
    tasks: Sequence[Task],
    *,
    report: Callable[[int, str, int], None],
    turn: Callable[[int | None], None],
    done: Callable[[int, bool | BaseException], None],
) -> None:
    """`Task.do` of several that are to be trained, those of one structure as one.

    What is reported names the task. `turn` is told whose output follows (None: that of all), and `done`, once for each,
    what `do` would have returned or raised.
    """
    with loading():
        from disvae.training.loop import fit_together

    fit_together([task._asked(False, partial(report, i)) for i, task in enumerate(tasks)], turn, done)
