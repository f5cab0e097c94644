"""The settings that distinguish runs, as a flat dict with the names of the command line. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from disvae.config import facts
from disvae.runs.identity import FILE_CHECKSUM, identity

Setting = str | int | float | bool | None

HOW = ("split.", "trainer.", "eval_")
"""Beginnings of the settings that say how a run is trained and measured; tables show these settings last."""

LEFT_OUT = ("dataset.path", FILE_CHECKSUM)
"""Settings of the data files that are left out; provenance.json has the checksum of the images of every run."""

WEIGHTS = ("beta", "alpha", "capacity")
"""Weights with a schedule; on the command line they have no prefix `objective.`."""


SUPERVISED = {
    "pairs": "pairs of images that share most factors",
    "factors": "groups of images in which a known factor varies",
}
"""What training knows beside the images, in words, for each supervision but `none`."""


def supervision(objective: str) -> str:
    """Return what an objective's training knows beside the images, as its YAML says it: none, pairs or factors."""
    return str((facts("objective", objective) or {}).get("supervision", "none"))


def flat_settings(config: Mapping[str, Any]) -> dict[str, Setting]:
    """Return every setting that distinguishes runs: `{"objective": "beta_tc", "beta": 6.0, "optimizer.lr": ...}`.

    The key of a group's option is the group's name. The schedule of a weight is `schedule.NAME`, its value is NAME.
    """
    found: dict[str, Setting] = {}
    _flatten(identity(config), "", found)
    return {name: value for name, value in found.items() if name not in LEFT_OUT}


def _flatten(node: Mapping[str, Any], above: str, found: dict[str, Setting]) -> None:
    for key, value in node.items():
        name = f"{above}.{key}" if above else key
        if above == "objective" and key in WEIGHTS:
            name = f"schedule.{key}"
        elif above == "objective" and key == "divergence":
            name = key
        if isinstance(value, Mapping):
            _flatten(value, name, found)
        elif key == "_target_":
            found[above] = value.split(".")[-2]  # disvae.GROUP.OPTION.Class
        elif key == "value" and above.startswith("schedule."):
            found[above.partition(".")[2]] = value
        else:
            found[name] = _list(value) if isinstance(value, list) else value


def _list(values: list[Any]) -> str:
    """Return a list as it is typed: `[100, 0.9]`, not `[100.0, 0.9]`."""
    return f"[{', '.join(f'{value:g}' if isinstance(value, float) else str(value) for value in values)}]"
