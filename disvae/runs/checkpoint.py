"""Checkpoints on disk: written whole or not at all, checked when read, read without running anything they hold."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from disvae.config import ConfigError
from disvae.runs.atomic import not_written, replacing


def load(path: Path) -> dict[str, Any]:
    """Return a checkpoint's content, on the CPU.

    Raises:
        ConfigError: the file is damaged or holds more than tensors and plain containers.
    """
    try:
        with path.open("rb") as file:
            if damaged := zipfile.ZipFile(file).testzip():  # torch itself does not compare the checksums
                raise zipfile.BadZipFile(f"{damaged} has another checksum than when it was written")
            file.seek(0)
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes torch and zipfile raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{path} cannot be read ({reason}); delete it and give the run's command again with force=true"
        ) from error
    return content


def save(content: Mapping[str, Any], target: Path) -> None:
    """Write `content` to `target`, whole or not at all.

    Raises:
        ConfigError: the disk is full or the folder cannot be written; an older checkpoint at `target` is intact.
    """
    try:
        with replacing(target) as temporary, temporary.open("wb") as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        raise not_written(target, error) from error
