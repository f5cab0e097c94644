"""GPUs and their leases: a lease is a file lock, so the system releases it however its process ends."""

import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

NODES = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
"""Device files of NVIDIA, AMD and WSL. A Linux machine without any of them has no GPU, so torch is not asked."""


@dataclass(frozen=True)
class Device:
    """A GPU, by its identity on this machine and by its name in CUDA_VISIBLE_DEVICES."""

    uuid: str
    visible: str


def _list(answer: "multiprocessing.queues.SimpleQueue[list[str]]") -> None:
    import torch

    answer.put([str(torch.cuda.get_device_properties(i).uuid) for i in range(torch.cuda.device_count())])


def named(uuids: Sequence[str], visible: str | None) -> list[Device]:
    """Return the devices in torch's order, with their names in CUDA_VISIBLE_DEVICES if that is set (`visible`)."""
    names = [str(i) for i in range(len(uuids))] if visible is None else visible.split(",")
    return [Device(uuid, name.strip()) for uuid, name in zip(uuids, names, strict=False)]


def find(accelerator: str) -> list[Device]:
    """Return the GPUs that a sweep may use; none for accelerator=cpu.

    Another process looks for them, because CUDA does not survive a fork.
    """
    if accelerator == "cpu" or (os.name == "posix" and os.uname().sysname == "Linux" and not _has_node()):
        return []
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=_list, args=(answer,))
    process.start()
    process.join()
    uuids = answer.get() if process.exitcode == 0 else []
    return named(uuids, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _has_node() -> bool:
    return any(Path(node).exists() for node in NODES)


def lease_folder() -> Path:
    """Return the folder of this user's leases, which all sweeps on the machine share."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    return Path(tempfile.gettempdir()) / f"disvae-leases-{user}"


def lease(devices: Sequence[Device], per_device: int, wait: Callable[[], None], pause: float = 1.0) -> FileLock:
    """Take a free slot on a GPU, show this process only that GPU, and return the slot's lock. Empty GPUs come first.

    The slot is held until this process ends. `wait` is called once if other sweeps hold all slots. This function has to
    be called before CUDA is used.
    """
    lease_folder().mkdir(mode=0o700, exist_ok=True)
    waiting = False
    while True:
        for slot in range(per_device):
            for device in devices:
                lock = FileLock(lease_folder() / f"{device.uuid}-{slot}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                os.environ["CUDA_VISIBLE_DEVICES"] = device.visible
                return lock
        if not waiting:
            wait()
        waiting = True
        time.sleep(pause)
