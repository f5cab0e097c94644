"""Train a disentangled VAE, or with -m a sweep of them.

    python -m disvae.train objective=beta_tc beta=6
    python -m disvae.train -m objective=decomposition beta=0.5,1,4 alpha=0,1,10 seed=0,1,2

Repeat the command to resume an interrupted run; a finished run is not trained again. The exit status is 2 for a wrong
configuration, 4 for a diverged loss, 130 for Ctrl-C and 143 for SIGTERM.
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

from disvae.config import ConfigError, check_lists, check_names, conf_dir, spelled
from disvae.sweep.axes import expand
from disvae.sweep.engine import check_installed
from disvae.system.command import asks_help, prepare_process
from disvae.system.help import help_text
from disvae.system.signals import Interrupted
from disvae.training.job import Job, JobFailed
from disvae.training.run_job import do, say_result


def train(cfg: DictConfig, overrides: Sequence[str], choices: Mapping[str, Any], *, brief: bool) -> float | None:
    """Check the configuration, train or resume its run, and return the result that `optimize` names.

    `brief` prints one line at the end instead of a table.

    Raises:
        ConfigError: the configuration is wrong (raised before anything is computed), or the finished run has no result
            with the name in `optimize`.
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
    """Run a job of Hydra; an error that the user can fix ends in a message of one line, without a traceback.

    An engine such as Ray or Slurm calls it in another process; there every error is reported to the sweep.
    """
    job = HydraConfig.get()
    by_engine = job.mode == RunMode.MULTIRUN and job.runtime.choices["hydra/launcher"] != "basic"
    _set_up()
    try:
        if by_engine:
            os.chdir(job.runtime.cwd)  # the paths of the sweep are relative to it
        return train(cfg, list(job.overrides.task), job.runtime.choices, brief=job.mode == RunMode.MULTIRUN)
    except (ConfigError, OmegaConfBaseException) as error:  # OmegaConf: a reference to nothing, or a missing value
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
            message = f"{type(error).__name__}: {error}"  # the error itself may not be picklable
    print(message, file=sys.stderr)
    if by_engine or (job.mode == RunMode.MULTIRUN and status < 128):
        raise JobFailed(message)
    sys.exit(status)


def _set_up() -> None:
    prepare_process()
    logging.getLogger("disvae").setLevel(logging.INFO)


def main() -> None:
    """Run the training command line."""
    if asks_help(sys.argv[1:]):
        program = "disvae-train" if Path(sys.argv[0]).name == "disvae-train" else "python -m disvae.train"
        print(help_text(program))
        return
    try:
        sys.argv[1:] = [spelled(expand(argument)) for argument in sys.argv[1:]]
        check_lists(sys.argv[1:])
        check_names(sys.argv[1:])
        check_installed(sys.argv[1:])
        if any(argument.startswith("--e") for argument in sys.argv[1:]):  # argparse accepts abbreviations
            raise ConfigError("--experimental-rerun would run code in a pickle: repeat the run's own command")
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    _set_up()
    hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_job)()


if __name__ == "__main__":
    main()
