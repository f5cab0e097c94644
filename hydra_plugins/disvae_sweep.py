"""The launcher and the sweeper of disvae, in the package where Hydra looks for plugins; see disvae/sweep."""

import sys
from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus

from disvae.config import ConfigError, check_names, spelled
from disvae.sweep.axes import combinations, expand, zipped
from disvae.sweep.engine import carry


class DisvaeLauncher(BasicLauncher):
    """A launcher that runs the unfinished jobs in processes (disvae/sweep/launch.py)."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run all jobs; return their results, failures included."""
        from disvae.sweep.launch import launch  # Hydra imports this file also for a single run

        assert self.config is not None
        assert self.hydra_context is not None
        return launch(self.config, self.hydra_context, job_overrides, initial_job_idx)


class DisvaeSweeper(BasicSweeper):
    """A grid sweeper with ranges and zipped axes; a job that fails never stops the others."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run every job; the process ends with status 1 if a job failed, 2 if the sweep is invalid."""
        try:
            return self._sweep(arguments)
        except ConfigError as error:
            print(f"disvae: {error}", file=sys.stderr)
            sys.exit(2)

    def _sweep(self, arguments: list[str]) -> list[JobReturn]:
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [f"{name}={values}" for name, values in self.params.items()] + arguments
        check_names(given)
        axes = {}
        for override in parser.parse_overrides([spelled(expand(argument)) for argument in given]):
            [values] = self.split_arguments([override], None)
            axes[override.get_key_element().lstrip("+")] = [spelled(value) for [value] in values]
        self._check_experiments(axes.get("experiment", []))
        jobs = combinations(axes, zipped(self.config.zip))
        returns: list[JobReturn] = []
        for batch in self.split_overrides_to_chunks(jobs, self.max_batch_size):
            if isinstance(self.launcher, DisvaeLauncher):
                returns += self.launcher.launch(batch, initial_job_idx=len(returns))
            else:
                returns += carry(self.launcher, batch, len(returns))
        if any(job.status == JobStatus.FAILED for job in returns):
            if not isinstance(self.launcher, DisvaeLauncher):  # our launcher has printed them
                for job in returns:
                    if job.status == JobStatus.FAILED:
                        print(f"failed: {' '.join(job.overrides or [])}: {job._return_value}", file=sys.stderr)
            # Hydra does not call it if a sweep ends by an exception
            self.hydra_context.callbacks.on_multirun_end(config=self.config, config_name="config")
            sys.exit(1)
        return returns

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
