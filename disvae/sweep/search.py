"""A search with Optuna: the values that it may choose, and a study on disk that the same command continues."""

import hashlib
import json
import math
import shlex
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import IntervalSweep
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from disvae.config import ConfigError
from disvae.runs.tags import better
from disvae.sweep import devices
from disvae.sweep.launch import new_record, parallel
from disvae.system.imports import require

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial, Trial

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[JobReturn]]
"""Runs jobs, of which the first has this number among all jobs of the sweep."""


def search(
    config: DictConfig,
    axes: Mapping[str, Sequence[str] | IntervalSweep],
    launch: Launch,
    *,
    trials: int,
    seed: int,
    direction: str | None,
    at_once: int | None,
) -> list[JobReturn]:
    """Run trials until there are `trials`, after those without a result were run again; print the best.

    Raises:
        ConfigError: a setting of the search is wrong; the message names it.
    """
    require("optuna", "hparams_search")
    if not isinstance(trials, int) or trials < 1 or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"hydra.sweeper.trials must be 1 or more and hydra.sweeper.seed 0 or more: {trials}, {seed}")
    if config.zip:
        raise ConfigError(f"zip has no effect in a search: leave out zip={list(config.zip)}")
    signs = {"maximize": 1, "minimize": -1, None: better(config.optimize)}
    if not (sign := signs.get(direction, 0)):
        raise ConfigError(
            f"hydra.sweeper.direction must be maximize or minimize for optimize={config.optimize}, got {direction!r}"
        )
    fixed = [values[0] for values in axes.values() if not isinstance(values, IntervalSweep) and len(values) == 1]
    space = {name: values for name, values in axes.items() if isinstance(values, IntervalSweep) or len(values) > 1}
    seeds = space.pop("seed", None) or [""]  # not chosen: the search would find the luckiest
    if isinstance(seeds, IntervalSweep) or not space:
        raise ConfigError(
            "a search needs a setting with several values, such as 'beta=interval(1,16)' or objective=vae,beta_tc; "
            "seeds are a list, whose mean counts: seed=0,1,2"
        )
    path = new_record(config).path.with_suffix(".optuna")
    study = Study(path, space, [sorted(fixed), list(seeds), config.optimize], maximize=sign > 0, seed=seed)
    size = at_once or max(1, parallel(config, devices.find(config.trainer.accelerator)) // len(seeds))

    def jobs(params: Mapping[str, Any]) -> list[list[str]]:
        chosen = [value if isinstance(value, str) else f"{name}={value:.6g}" for name, value in params.items()]
        return [[*fixed, *chosen, *filter(None, [each])] for each in seeds]

    returns: list[JobReturn] = []
    batch: Sequence[FrozenTrial | Trial] = study.known()  # what is finished is skipped, what was stopped goes on
    left = trials - study.finished - sum(trial.value is None for trial in study.known())
    while batch or left > 0:
        if not batch:
            batch = study.ask(min(size, left))
            left -= len(batch)
        made = launch([job for trial in batch for job in jobs(trial.params)], len(returns))
        returns += made
        for i, trial in enumerate(batch):
            own = made[i * len(seeds) : (i + 1) * len(seeds)]
            results = [float(job.return_value) if job.status == JobStatus.COMPLETED else math.nan for job in own]
            study.tell(trial.number, sum(results) / len(results))
        batch = []
    if best := study.best():
        command = [shlex.join(["python", "-m", "disvae.train", *job]) for job in jobs(best.params)]
        mean = f", mean of {len(seeds)} seeds" * (len(seeds) > 1)
        print(f"Best of {study.finished} trials: {config.optimize} = {best.value:.6g}{mean}", *command, sep="\n")
    return returns


class Study:
    """A study of Optuna in the file `path`, which is continued if it is there.

    Each trial chooses an override from each list in `space`, and a number from each interval. A file may hold several
    studies, one for each `space` and `settings`, so a changed search does not mix with a former one.
    """

    def __init__(
        self,
        path: Path,
        space: Mapping[str, Sequence[str] | IntervalSweep],
        settings: Any,
        *,
        maximize: bool,
        seed: int,
    ) -> None:
        import optuna
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        self.seed = seed
        self.space: dict[str, Any] = {}
        for name, values in space.items():
            if not isinstance(values, IntervalSweep):
                self.space[name] = CategoricalDistribution(values)
                continue
            whole = isinstance(values.start, int) and isinstance(values.end, int)
            numbers: Any = IntDistribution if whole else FloatDistribution
            try:
                self.space[name] = numbers(values.start, values.end, log="log" in values.tags)
            except ValueError as error:
                raise ConfigError(
                    f"{name}=interval({values.start},{values.end}) must go up, from above 0 with tag(log, ...)"
                ) from error
        mark = json.dumps([{name: repr(values) for name, values in self.space.items()}, settings, maximize, seed])
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings(action="ignore"):  # of an interface that may change
                storage = JournalStorage(JournalFileBackend(str(path)))
            self.study = optuna.create_study(
                storage=storage,
                study_name=hashlib.sha256(mark.encode()).hexdigest()[:8],
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
            )
        except OSError as error:
            raise ConfigError(f"{path} cannot be written ({error}); choose another folder with out=PATH") from error

    @property
    def finished(self) -> int:
        """Return the number of trials that have a result."""
        return sum(trial.value is not None for trial in self.study.get_trials(deepcopy=False))

    def known(self) -> list["FrozenTrial"]:
        """Return one trial for each choice of values so far; it has a result if any trial of this choice has one."""
        trials = [trial for trial in self.study.get_trials(deepcopy=False) if trial.params.keys() == self.space.keys()]
        with_result = {str(trial.params): trial for trial in trials if trial.value is not None}
        return list(({str(trial.params): trial for trial in trials} | with_result).values())

    def ask(self, number: int) -> list["Trial"]:
        """Return new trials, which depend on the seed and the trials before them, not on where a search was stopped."""
        import optuna

        asked = []
        for _ in range(number):
            self.study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(self.study.get_trials(deepcopy=False)))
            asked.append(self.study.ask(self.space))
        return asked

    def tell(self, number: int, value: float) -> None:
        """Store the result of a trial; without a finite one it has failed.

        A result of a trial that had failed before is stored as another trial, because a study keeps what it has.
        """
        from optuna.trial import TrialState, create_trial

        before, finite = self.study.get_trials(deepcopy=False)[number], math.isfinite(value)
        if not before.state.is_finished():
            state = TrialState.COMPLETE if finite else TrialState.FAIL
            self.study.tell(number, value if finite else None, state, skip_if_finished=True)
        elif before.value is None and finite:
            new = create_trial(value=value, params=before.params, distributions=before.distributions)
            self.study.add_trial(new)

    def best(self) -> "FrozenTrial | None":
        """Return the trial with the best result, or None if no trial has one."""
        return self.study.best_trial if self.finished else None
