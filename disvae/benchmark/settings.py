"""Check the benchmark's settings and compose the configurations of its runs. Imports no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from disvae.config import PRECISIONS, ConfigError, check_values, options, resolved
from disvae.system.compose import composing
from disvae.system.overrides import check_forms, translated

PARTS = {
    "reference": "A step of a plain loop and of this package: β-VAE, Burgess network, sprites",
    "steps": "Steps without Lightning's loop; floor: share of a step that its products need at the device's best rate",
    "launches": "Operators that launch a kernel in a step, alone and packed: a prediction for a GPU",
    "loop": "Steps with and without Lightning's loop, and the parts of a run, in ms per step",
    "pack": "Steps per second of K packed runs together, and of one run alone",
    "data": "Memory of the images in each format, and the time to gather a batch",
}
"""The titles of the parts, in the default order of measurement."""

MODELS = options("model")
LIST_SETTINGS = {
    "parts": list(PARTS),
    "objectives": options("objective"),
    "models": MODELS,
    "packed_models": MODELS,
}
CHOICES = {"device": ["auto", "cpu", "cuda"], "precision": list(PRECISIONS)}


def composed(name: str, overrides: Sequence[str]) -> DictConfig:
    """Return conf/NAME.yaml with overrides.

    Raises:
        ConfigError: an override has a key or a value that does not exist.
    """
    check_forms(overrides)
    with translated(overrides), composing():
        return compose(name, overrides=list(overrides))


def configuration(overrides: Sequence[str]) -> dict[str, Any]:
    """Return the configuration that `python -m disvae.train` would train with these overrides.

    Raises:
        ConfigError: a value is wrong; the message names the key, its value and what it must be.
    """
    cfg = composed("config", overrides)
    check_values(cfg)
    return resolved(cfg)


def settings(arguments: Sequence[str]) -> dict[str, Any]:
    """Return conf/benchmark.yaml with the command line's settings; `overrides` holds the overrides of the runs.

    Raises:
        ConfigError: a value is wrong; the message names the setting, its value and what it must be.
    """
    own = [argument for argument in arguments if not argument.startswith("run.")]
    chosen: Any = OmegaConf.to_container(composed("benchmark", own), resolve=True)
    for key, value in chosen.items():
        must = _must(key, value)
        if must:
            raise ConfigError(f"{key} must be {must}, got {value}")
    return {**chosen, "overrides": [argument.removeprefix("run.") for argument in arguments if argument not in own]}


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _must(key: str, value: Any) -> str | None:
    """Return what the value of a setting must be, or None if the value is right."""
    several = isinstance(value, list) and bool(value)
    if key in LIST_SETTINGS and not (several and set(value) <= set(LIST_SETTINGS[key])):
        return f"a list of {', '.join(LIST_SETTINGS[key])}"
    if key in CHOICES and value not in CHOICES[key]:
        return ", ".join(CHOICES[key])
    if key in ("batch_sizes", "pack") and not (several and all(map(_whole, value))):
        return "a list of whole numbers of at least 1"
    if key in ("rounds", "threads") and not (_whole(value) or (key, value) == ("threads", "auto")):
        return "a whole number of at least 1"
    if key == "seconds" and not (type(value) in (int, float) and 0 < value < 3600):
        return "a number of seconds below 3600"
    if key == "json" and value is not None and not Path(str(value)).parent.is_dir():
        return "a file in a folder that exists"
    return None
