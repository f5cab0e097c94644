"""The launcher and the sweepers of disvae, in the package where Hydra looks for plugins; see disvae/sweep."""

import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, RangeSweep
from hydra.core.utils import JobReturn, JobStatus

from disvae.config import ConfigError, check_names, spelled
from disvae.sweep.axes import MOST_JOBS, check_number, combinations, expand, zipped
from disvae.sweep.engine import carry


class DisvaeLauncher(BasicLauncher):
    """A launcher that runs the unfinished jobs in processes (disvae/sweep/launch.py)."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; return their results, failures included."""
        from disvae.sweep.launch import launch  # Hydra imports this file also for a single run

        assert self.config is not None
        assert self.hydra_context is not None
        if not str(self.config.hydra.sweeper._target_).startswith("hydra_plugins.disvae_"):
            Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)  # where other sweepers write results
        return launch(self.config, self.hydra_context, job_overrides, initial_job_idx)


class DisvaeSweeper(BasicSweeper):
    """A grid sweeper with ranges and zipped axes; a job that fails never stops the others."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job; the process ends with status 1 if a job failed, 2 if the sweep is invalid."""
        try:
            returns = self._sweep(arguments)
        except ConfigError as error:
            print(f"disvae: {error}", file=sys.stderr)
            sys.exit(2)
        if any(job.status == JobStatus.FAILED for job in returns):
            assert self.config is not None
            assert self.hydra_context is not None
            if not isinstance(self.launcher, DisvaeLauncher):  # our launcher has printed them
                for job in returns:
                    if job.status == JobStatus.FAILED:
                        print(f"failed: {' '.join(job.overrides or [])}: {job._return_value}", file=sys.stderr)
            # Hydra does not call it if a sweep ends by an exception
            self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name="config")
            sys.exit(1)
        return returns

    def _sweep(self, arguments: list[str]) -> list[JobReturn]:
        assert self.config is not None
        axes: dict[str, list[str]] = {}
        for name, values in self._axes(arguments).items():
            if isinstance(values, IntervalSweep):
                raise ConfigError(
                    f"{name}=interval(...) is for a search: add hparams_search=optuna, or type {name}=linspace(1,4,4)"
                )
            axes[name] = values
        returns: list[JobReturn] = []
        for batch in self.split_overrides_to_chunks(combinations(axes, zipped(self.config.zip)), self.max_batch_size):
            returns += self._launch(batch, len(returns))
        return returns

    def _axes(self, arguments: list[str]) -> dict[str, list[str] | IntervalSweep]:
        """Return for the name of each axis its overrides, or the interval that was typed."""
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [f"{name}={values}" for name, values in self.params.items()] + arguments
        check_names(given)
        axes: dict[str, Any] = {}
        for override in parser.parse_overrides([spelled(expand(argument)) for argument in given]):
            name = override.get_key_element().lstrip("+")
            if override.is_interval_sweep():
                axes[name] = override.value()
                continue
            typed, value = str(override.input_line), override.value()
            if isinstance(value, RangeSweep):  # counted before all its values are written out
                check_number(typed, sum(1 for _ in itertools.islice(value.range(), MOST_JOBS + 1)))
            [values] = self.split_arguments([override], None)
            check_number(typed, len(values))
            axes[name] = [spelled(value) for [value] in values]
        self._check_experiments(axes.get("experiment", []))
        return axes

    def _launch(self, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
        assert self.launcher is not None
        if isinstance(self.launcher, DisvaeLauncher):
            return self.launcher.launch(jobs, initial_job_idx=first)
        return carry(self.launcher, jobs, first)

    def _check_experiments(self, chosen: Sequence[str]) -> None:
        """Refuse several experiments in one sweep if one of them has settings of the whole sweep, which would be lost.

        Raises:
            ConfigError: naming the experiment and its settings.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        for override in chosen if len(chosen) > 1 else ():
            loaded = self.hydra_context.config_loader.load_sweep_config(self.config, [override]).hydra
            for name, value, here in (
                ("hydra.sweeper.params", loaded.sweeper.get("params"), self.params),
                ("hydra.callbacks", loaded.callbacks, self.config.hydra.callbacks),
            ):
                if value and value != here:
                    raise ConfigError(
                        f"{override} brings {name}, which are for a whole sweep, so it cannot be one of several "
                        f"experiments: type a command for each, python -m disvae.train -m {override}"
                    )


class OptunaSweeper(DisvaeSweeper):
    """A sweeper that searches with Optuna for the best value of the result in `optimize`; see disvae/sweep/search.py.

    Each trial is a job, or a job for each of the seeds, whose mean counts. The same command continues a search.
    """

    def __init__(
        self, trials: int, seed: int, direction: str | None, max_batch_size: int | None, params: Any = None
    ) -> None:
        super().__init__(max_batch_size, params)
        self.trials, self.seed, self.direction = trials, seed, direction

    def _sweep(self, arguments: list[str]) -> list[JobReturn]:
        from disvae.sweep.search import search

        assert self.config is not None
        return search(
            self.config,
            self._axes(arguments),
            self._launch,
            trials=self.trials,
            seed=self.seed,
            direction=self.direction,
            at_once=self.max_batch_size,
        )
