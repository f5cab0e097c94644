"""Cores and memory that this process may use. Imports no torch."""

import os
from pathlib import Path

GIB = 2**30
JOB_MEMORY = 2 * GIB
"""Estimated bytes of memory for a job on the CPU: torch, the images and their codes."""

CGROUP = Path("/sys/fs/cgroup")
"""The folder in which Linux states the limits of a container."""


def cores() -> int:
    """Return the number of cores that this process may use, within the limit of a container."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        return max(1, min(here, quota // period))
    except (OSError, ValueError):  # no such control group, or "max"
        return here


def memory() -> int:
    """Return the bytes of memory that this process may use, within the limit of a container."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int((CGROUP / "memory.max").read_text()))
    except (OSError, ValueError):  # no such control group, or "max"
        return total


def processes(asked: int | str) -> int:
    """Return the number of parallel jobs on the CPU: `asked`, or for auto as many as cores and memory allow."""
    return asked if isinstance(asked, int) else max(1, min(cores(), memory() // JOB_MEMORY))


def share_threads(slots: int) -> None:
    """Give each of `slots` processes an equal share of the cores, unless the user has set OMP_NUM_THREADS.

    It acts only on processes that start later, because OpenMP and MKL read the variable when they are loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // slots)))
