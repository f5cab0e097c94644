"""Checkpoint files: written completely or not at all, checked when read, and read without running code in them."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from disvae.config import ConfigError
from disvae.runs.atomic import not_written, replacing


def load(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, on the CPU.

    Raises:
        ConfigError: the file is damaged, or it holds objects other than tensors and plain containers.
    """
    try:
        with path.open("rb") as file:
            if damaged := zipfile.ZipFile(file).testzip():  # torch does not compare the checksums
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            file.seek(0)
            content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes torch and zipfile raise many kinds of errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"{path} cannot be read ({reason}); delete it and repeat the run's command with force=true"
        ) from error
    return content


def save(content: Mapping[str, Any], target: Path) -> None:
    """Write `content` to `target`, completely or not at all.

    Raises:
        ConfigError: the disk is full or the folder cannot be written. An older checkpoint at `target` is intact.
    """
    try:
        with replacing(target) as temporary, temporary.open("wb") as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        raise not_written(target, error) from error
