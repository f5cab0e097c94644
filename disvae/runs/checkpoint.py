"""Checkpoint files: written completely or not at all, checked when read, and read without running code in them."""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from disvae.runs.atomic import not_written
from disvae.runs.contents import COUNT, MAPPING, NUMBER, Form, Kind, with_form
from disvae.runs.digests import Changed, Damaged, file_digest, is_known, recorded

WEIGHT = Kind("a tensor without NaN", lambda value: isinstance(value, torch.Tensor) and not value.isnan().any())
VERSION = Kind("a version", lambda value: isinstance(value, str) and bool(re.fullmatch(r"[\d.]*\d(rc\d+)?", value)))
CHECKPOINT: Form = {
    "global_step": COUNT,
    "state_dict": {"*": WEIGHT},
    "optimizer_states": [{"state": MAPPING, "param_groups": [MAPPING]}],
    "terms": {"*": NUMBER},
    "best_elbo": NUMBER,
    "callbacks?": {"*": MAPPING},
    "lr_schedulers?": [MAPPING],
    "hyper_parameters?": MAPPING,
    "pytorch-lightning_version?": VERSION,
}
"""The form of a run's checkpoint; what else Lightning puts there is not read."""


def load(path: Path) -> dict[str, Any]:
    """Return the content of a run's checkpoint, on the CPU.

    Raises:
        Damaged: the file is damaged or exchanged, is no checkpoint of a run, or holds other objects than tensors and
            plain containers.
    """
    remedy = "delete it and repeat the run's command with force=true"
    try:
        with path.open("rb") as file:
            if damaged := zipfile.ZipFile(file).testzip():  # torch does not compare the checksums
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
        if not is_known(path, file_digest(path)):
            raise Changed
        return with_form(content, CHECKPOINT)
    except Changed as error:
        raise Damaged(f"{path} {error}: {remedy}") from error
    except Damaged:
        raise
    except Exception as error:  # a damaged file makes torch and zipfile raise many kinds of errors
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise Damaged(f"{path} cannot be read ({reason}): {remedy}") from error


def save(content: Mapping[str, Any], target: Path) -> None:
    """Write `content` to `target`, completely or not at all.

    Raises:
        ConfigError: the disk is full or the folder cannot be written. An older checkpoint at `target` is intact.
    """
    try:
        with recorded(target) as temporary, temporary.open("wb") as file:
            torch.save(dict(content), file)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        raise not_written(target, error) from error
