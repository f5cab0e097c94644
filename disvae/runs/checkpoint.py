"""Checkpoints on disk: written whole or not at all, read without running anything they hold."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from disvae.config import ConfigError


def load(path: Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU.

    Raises:
        ConfigError: the file is damaged or holds more than tensors and plain containers.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ConfigError(
            f"{path} cannot be read ({type(error).__name__}); delete it to start the run again"
        ) from error
    return content


def save(content: Mapping[str, Any], target: Path) -> None:
    """Write `content` to `target`: beside its place, synced, then renamed.

    Raises:
        ConfigError: the disk is full or the folder cannot be written; an older checkpoint at `target` is intact.
    """
    try:
        temporary = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with temporary.open("wb") as file:
                torch.save(dict(content), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
            folder = os.open(target.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        reason = error.strerror if isinstance(error, OSError) else "the disk is full or a quota is reached"
        raise ConfigError(
            f"cannot write {target}: {reason}; make room or set out=PATH, then give the same command again"
        ) from error
