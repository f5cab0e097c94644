"""Training from Python. Imports no torch until there is something to compute."""

import gc
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser

from disvae.api.isolation import kept_random_numbers, usual_defaults
from disvae.api.trained import TrainedRun
from disvae.config import ConfigError, bracketed, check_lists, check_names, spelled
from disvae.system.command import let_threads_sleep
from disvae.system.compose import composing
from disvae.system.overrides import as_override, check_forms, translated
from disvae.system.plugins import allow_plugins
from disvae.system.signals import Interrupted
from disvae.training.job import Job
from disvae.training.run_job import do, parts_of, say_result

_TRAINING = threading.RLock()
"""Trainings share torch's random numbers, so those of several threads wait for each other."""


def train(*overrides: str, brief: bool = False, **settings: Any) -> TrainedRun:
    """Train a run, or resume it, or return it if it is finished: what `python -m disvae.train` does, in this process.

    `disvae.train("objective=beta_tc", beta=6)` equals the command line `objective=beta_tc beta=6`, its folder and its
    numbers included. A keyword is a setting; `**{"optimizer.lr": 1e-3}` gives one with a dot. `brief` prints one line.

    Raises:
        ConfigError: a setting is wrong; the message says what to type.
        KeyboardInterrupt: Ctrl-C or the notebook's stop button; the same call continues the run.
        RuntimeError: the loss diverged or SIGTERM came; the message says which.
    """
    typed = [*overrides, *(f"{key}={as_override(value)}" for key, value in settings.items())]
    with _TRAINING, usual_defaults(), kept_random_numbers():
        job, frozen = job_of(typed), gc.get_freeze_count()
        let_threads_sleep()
        try:
            parts = parts_of(job)  # a wrong setting leaves no folder
            job = job.claimed()
            do(job, brief=brief, parts=parts)
        except (Interrupted, RuntimeError) as error:
            stopped = error.signum if isinstance(error, Interrupted) else getattr(error, "exit_status", 0) - 128
            if stopped == signal.SIGINT:
                raise KeyboardInterrupt(str(error)) from error
            raise
        finally:
            if not frozen:  # imports are frozen with all else that lives, which is right in a command only
                gc.unfreeze()
        say_result(job, brief=brief)
    return TrainedRun(job.run.path)


def job_of(overrides: Sequence[str]) -> Job:
    """Return the checked job of these overrides.

    Raises:
        ConfigError: a setting is wrong; the message says what to type.
    """
    overrides = [bracketed(spelled(override)) for override in overrides]
    allow_plugins(overrides)
    check_forms(overrides)
    check_lists(overrides)
    check_names(overrides)
    with translated(overrides):
        for override in OverridesParser.create().parse_overrides(overrides):
            if override.is_sweep_override():
                raise ConfigError(
                    f"{override.input_line} is a sweep: call disvae.train once for each value, or type "
                    "python -m disvae.train -m for all at once"
                )
        with composing():
            cfg = compose("config", overrides=overrides, return_hydra_config=True)
            job = Job.of(cfg, overrides, cfg.hydra.runtime.choices)
    if cfg.preview is not None:
        raise ConfigError("preview=schedule trains nothing: type python -m disvae.train preview=schedule")
    return replace(job, call=f"disvae.train({', '.join(map(repr, overrides))})")
