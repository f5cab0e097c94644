"""Other launchers for the same jobs: Ray, and Slurm through submitit."""

import importlib.util
import signal
import sys
from collections.abc import Iterable, Sequence

from hydra.core.utils import JobReturn
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher

from disvae.config import ConfigError
from disvae.system.signals import signals_call

EXTRAS = {"ray": ("ray", "hydra_ray_launcher"), "submitit": ("slurm", "hydra_submitit_launcher")}
"""For the first part of a launcher's name: disvae's extra, and Hydra's plugin. `slurm_gpu` uses submitit's plugin."""


def check_installed(arguments: Iterable[str]) -> None:
    """Raise ConfigError if a chosen launcher's extra is not installed; the message says what to type."""
    for argument in arguments:
        key, _, name = argument.partition("=")
        extra, plugin = EXTRAS.get(name.partition("_")[0].replace("slurm", "submitit"), ("", ""))
        if key == "hydra/launcher" and extra and importlib.util.find_spec(f"hydra_plugins.{plugin}") is None:
            raise ConfigError(f'{argument} is not installed: type pip install ".[{extra}]" in the folder of its source')


def carry(launcher: Launcher, jobs: Sequence[Sequence[str]], first: int) -> Sequence[JobReturn]:
    """Run the jobs with another launcher. If it loses a job or is stopped, this process ends with a message.

    Jobs that wait in a cluster's queue continue without this process.
    """
    try:
        with signals_call(signal.SIG_DFL):
            signal.signal(signal.SIGINT, signal.default_int_handler)  # Ray looks for KeyboardInterrupt only
            return launcher.launch(jobs, initial_job_idx=first)
    except (ConfigError, HydraException):
        raise
    except KeyboardInterrupt:
        status, reason = 130, "stopped"
    except Exception as error:  # many kinds: a killed worker, a queue that does not exist
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        status, reason = 1, f"{type(launcher).__name__}: {' '.join(lines[:2]) or type(error).__name__}"
    print(
        f"disvae: {reason}\nType python -m disvae.status outputs to see what is done; the same command does the rest",
        file=sys.stderr,
    )
    sys.exit(status)
