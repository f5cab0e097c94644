"""Provenance of a run: the command, commit, versions and machine that its numbers come from."""

import platform
import shlex
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any


def now() -> str:
    """Return the date and time with the time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _git(*arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            ["git", "-C", str(Path(__file__).parent), *arguments],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None  # no git, or installed from a wheel
    return answer.stdout.strip()


def provenance(device: str, threads: int, call: str = "") -> dict[str, Any]:
    """Return command, commit, versions and machine of this session; training adds data_checksum and wall_s.

    The command is the Python `call` if there is one, or else the process's own.
    """
    changes = _git("status", "--porcelain", "--untracked-files=no", ".")
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
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "packages": versions,
        "device": device,
        "threads": threads,
        "machine": platform.platform(),
    }
