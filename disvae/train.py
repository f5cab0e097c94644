"""Train one disentangled VAE, or with -m a sweep of them.

    python -m disvae.train objective=beta_tc beta=6
    python -m disvae.train -m objective=decomposition beta=0.5,1,4 alpha=0,1,10 seed=0,1,2

The same command given again continues a run that was interrupted and leaves alone one that is finished. Exit status: 2
for a configuration that cannot be, 4 for a loss that diverged, 130 and 143 for Ctrl-C and SIGTERM.
"""

import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from disvae import config as knobs
from disvae.config import ConfigError
from disvae.sweep.axes import expand
from disvae.sweep.engine import check_installed
from disvae.system.help import help_text
from disvae.system.signals import Interrupted
from disvae.training.job import Job, JobFailed
from disvae.training.run_job import do, say_result


def train(cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, brief: bool) -> float | None:
    """Check, find the run folder, train or resume; returns the result that `optimize` names.

    `brief` prints a line where one of many runs would print a table.

    Raises:
        ConfigError: before anything is computed, naming the key, its value and what to type; or at the end, when the
            run has no result of the name in `optimize`.
    """
    job = Job.of(cfg, overrides, choices)
    if cfg.preview is not None:
        from disvae.pictures.schedule_preview import preview_schedules

        preview_schedules(cfg, Path(cfg.out))
        return None
    job = job.claimed()
    do(job, brief=brief)
    say_result(job, brief=brief)
    return job.result()


def _job(cfg: DictConfig) -> float | None:
    """Run Hydra's job; whatever the user can mend ends in one message, never in a stack of frames.

    An engine calls it in a process of its own, perhaps elsewhere; there, any end is an answer to the sweep.
    """
    job = HydraConfig.get()
    by_engine = job.mode == RunMode.MULTIRUN and job.runtime.choices["hydra/launcher"] != "basic"
    _set_up()
    try:
        if by_engine:
            os.chdir(job.runtime.cwd)  # the sweep's paths are relative to it
        return train(cfg, list(job.overrides.task), job.runtime.choices, brief=job.mode == RunMode.MULTIRUN)
    except (ConfigError, OmegaConfBaseException) as error:  # the latter: a reference to nothing, a value left open
        status, message = 2, f"disvae: {error}"
    except KeyboardInterrupt:
        status, message = 130, "disvae: stopped before anything was trained"
    except Interrupted as error:
        status, message = 128 + error.signum, f"disvae: {error}; what was computed is kept"
    except Exception as error:
        status, message = getattr(error, "exit_status", 0), f"disvae: {error}"
        if not status and not by_engine:
            raise
        if not status:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}"  # the error itself may not survive the way back
    print(message, file=sys.stderr)
    if by_engine or (job.mode == RunMode.MULTIRUN and status < 128):
        raise JobFailed(message)
    sys.exit(status)


def _set_up() -> None:
    """What a process needs before it imports torch."""
    # Threads that wait sleep soon; where cores are shared, spinning costs 20 times a step.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.basicConfig(format="%(message)s")  # to stderr: what takes long, and what was mended
    logging.getLogger("disvae").setLevel(logging.INFO)


def main() -> None:
    """The command line."""
    if any(argument in ("-h", "--help") for argument in sys.argv[1:]):
        program = "disvae-train" if Path(sys.argv[0]).name == "disvae-train" else "python -m disvae.train"
        print(help_text(program))
        return
    try:
        sys.argv[1:] = map(expand, sys.argv[1:])
        knobs.check_lists(sys.argv[1:])
        knobs.check_names(sys.argv[1:])
        check_installed(sys.argv[1:])
        if any(argument.startswith("--e") for argument in sys.argv[1:]):  # argparse takes a beginning for the whole
            raise ConfigError("--experimental-rerun would run what a pickle holds: give the run's own command again")
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    _set_up()
    hydra.main(version_base="1.3", config_path=str(knobs.conf_dir()), config_name="config")(_job)()


if __name__ == "__main__":
    main()
