"""Provenance of a run: the command, commit, versions and machine that its numbers come from."""

import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from disvae.config import package_folder
from disvae.config import packages as allowed


def now() -> str:
    """Return the date and time with the time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *arguments],  # a killed run leaves no index.lock behind
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or installed from a wheel
    return answer.stdout.strip()


def _commit(folder: Path) -> dict[str, Any]:
    """Return the commit of the repository that holds a folder, and whether the folder has changed since."""
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no", ".")
    return {"git_commit": _git(folder, "rev-parse", "HEAD"), "git_dirty": None if changes is None else bool(changes)}


def commit_of_package() -> dict[str, Any]:
    """Return the commit of this package's source, and whether its files have changed since; None if it is not known."""
    return _commit(Path(__file__).parents[1])


def provenance(device: str, threads: int, call: str = "") -> dict[str, Any]:
    """Return command, commits, versions and machine of this session; training adds data_checksum and wall_s.

    The command is the Python `call` if there is one, or else the process's own.
    """
    plugins = {name: package_folder(name) for name in allowed()[1:]}
    packages = ("disvae", "torch", "pytorch-lightning", "hydra-core", "omegaconf", "numpy", "scikit-learn")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"  # run from the source tree
    return {
        "command": call or shlex.join(sys.orig_argv),
        "started": now(),
        **commit_of_package(),
        **{f"plugin {name}": _commit(folder) for name, folder in plugins.items() if folder is not None},
        "python": platform.python_version(),
        "packages": versions,
        "device": device,
        "threads": threads,
        "machine": platform.platform(),
    }
