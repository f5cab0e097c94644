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

from disvae.config import ConfigError, bracketed, check_lists, check_names, conf_dir, spelled
from disvae.sweep.axes import expand
from disvae.sweep.engine import check_installed
from disvae.system.command import asks_help, one_line, prepare_process, prints_version, refusals
from disvae.system.help import help_text
from disvae.system.overrides import in_words, ordered, translated, typed
from disvae.system.plugins import allow_plugins
from disvae.system.signals import Interrupted
from disvae.training.job import Job, JobFailed
from disvae.training.run_job import do, parts_of, say_result


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
    parts = parts_of(job)  # a wrong setting leaves no folder
    job = job.claimed()
    do(job, brief=brief, parts=parts)
    say_result(job, brief=brief)
    return job.result()


def _job(cfg: DictConfig) -> float | None:
    """Run a job of Hydra; an error that the user can fix ends in a message of one line, without a traceback.

    An engine such as Ray or Slurm calls it in another process; there every error is reported to the sweep.
    """
    job = HydraConfig.get()
    overrides = typed(job.overrides.task)
    by_engine = job.mode == RunMode.MULTIRUN and job.runtime.choices["hydra/launcher"] != "basic"
    _set_up()
    try:
        if by_engine:
            os.chdir(job.runtime.cwd)  # the paths of the sweep are relative to it
            allow_plugins(overrides)
        return train(cfg, overrides, job.runtime.choices, brief=job.mode == RunMode.MULTIRUN)
    except ConfigError as error:
        status, message = 2, f"disvae: {error}"
    except OmegaConfBaseException as error:  # a reference to nothing, or a missing value
        status, message = 2, f"disvae: {in_words(error, overrides)}"
    except KeyboardInterrupt:
        status, message = 130, "disvae: stopped before anything was trained"
    except Interrupted as error:
        status, message = 128 + error.signum, f"disvae: {error}; what was computed is kept"
    except Exception as error:
        status, message = getattr(error, "exit_status", 0), f"disvae: {error}"
        if isinstance(error, OSError) and error.filename is not None:
            status, message = 2, f"disvae: {one_line(error)}"
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
    _set_up()
    with refusals():
        allow_plugins(sys.argv[1:])
        if prints_version(sys.argv[1:]):
            return
        if asks_help(sys.argv[1:]):
            program = "disvae-train" if Path(sys.argv[0]).name == "disvae-train" else "python -m disvae.train"
            print(help_text(program, sys.argv[1:]))
            return
        sys.argv[1:] = [spelled(expand(argument)) for argument in ordered(sys.argv[1:])]
        if not {"-m", "--multirun"} & {*sys.argv[1:]}:
            sys.argv[1:] = map(bracketed, sys.argv[1:])
        check_lists(sys.argv[1:])
        check_names(sys.argv[1:])
        check_installed(sys.argv[1:])
        os.environ["HYDRA_FULL_ERROR"] = "1"  # so that Hydra raises its errors and does not print them
        with translated(sys.argv[1:]):
            try:
                hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="config")(_job)()
            except JobFailed:  # a job of Hydra's own launcher, which has said why
                sys.exit(1)


if __name__ == "__main__":
    main()
