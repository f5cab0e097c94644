"""What this machine carries: cores and memory that are this process's to use. Imports no torch."""

import os
from pathlib import Path

GIB = 2**30
JOB_MEMORY = 2 * GIB
"""What a job on the CPU is taken to need: torch, the images and their codes."""


CGROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may use."""


def cores() -> int:
    """Cores this process may use, the container's where it has fewer."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = map(int, (CGROUP / "cpu.max").read_text().split())
        return max(1, min(here, quota // period))
    except (OSError, ValueError):  # no such control group, or "max"
        return here


def memory() -> int:
    """Bytes of memory, the container's where it has fewer."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(total, int((CGROUP / "memory.max").read_text()))
    except (OSError, ValueError):  # no such control group, or "max"
        return total


def processes(asked: int | str) -> int:
    """Jobs at once on the CPU: as `asked`, or as many as cores and memory carry."""
    return asked if isinstance(asked, int) else max(1, min(cores(), memory() // JOB_MEMORY))


def share_threads(slots: int) -> None:
    """Give each of `slots` processes its share of the cores, unless the user has.

    For processes that are yet to start: OpenMP and MKL read it when they are loaded.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // slots)))
