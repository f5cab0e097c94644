"""What tells runs apart: a configuration as a flat dict, with the names of the command line. Imports no torch."""

from collections.abc import Mapping
from typing import Any

from disvae.runs.identity import identity

Setting = str | int | float | bool | None

HOW = ("split.", "trainer.", "eval_")
"""Beginnings of the knobs that say how a run is done and measured rather than what: where they vary, they come last."""

WHERE = "dataset.path"
"""The one knob that tells no runs apart: where the data are."""

WEIGHTS = ("beta", "alpha", "capacity")
"""Values of schedules, known on the command line without their objective's name."""


def flat_settings(config: Mapping[str, Any]) -> dict[str, Setting]:
    """Every knob that tells runs apart: `{"objective": "beta_tc", "beta": 6.0, "z_dim": 10.0, "optimizer.lr": ...}`.

    An option of a group stands under the group's name; a weight's schedule under `schedule.NAME`, its value under NAME.
    """
    found: dict[str, Setting] = {}
    _flatten(identity(config), "", found)
    return {name: value for name, value in found.items() if name != WHERE}


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
            found[name] = str(value) if isinstance(value, list) else value
