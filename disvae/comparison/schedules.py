"""The schedules that a comparison's runs used, each once. Imports no torch: schedules are plain Python."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from disvae.comparison.groups import Comparison, shown
from disvae.config import ConfigError
from disvae.pictures.schedule_plot import schedule_plot
from disvae.runs.folder import Run
from disvae.runs.settings import WEIGHTS

MOST = 8
"""Panels; further schedules are counted."""


@dataclass
class Drawn:
    """A panel for each schedule that moves, and sentences on the others."""

    figure: Figure | None = None
    notes: list[str] = field(default_factory=list)


def schedule_figure(comparison: Comparison) -> Drawn:
    """The weights over a run, of one run for each group."""
    moving: dict[str, tuple[Callable[[int], float], int]] = {}
    constant: dict[str, set[float]] = {}
    for group in comparison.groups:
        path = group.rows[0].path
        try:
            config = {} if path is None else Run(path).config()
        except ConfigError:
            continue
        for name in WEIGHTS:
            node = config.get("objective", {}).get(name)
            if not isinstance(node, Mapping):
                continue
            if str(node.get("_target_", "")).endswith(".Constant"):
                constant.setdefault(name, set()).add(float(node["value"]))
                continue
            schedule = _schedule(node)
            if schedule is not None:
                said = ", ".join(
                    f"{key} {shown(value)}" for key, value in node.items() if key not in ("_target_", "steps")
                )
                kind = str(node["_target_"]).split(".")[-2]
                moving.setdefault(f"{name}, {kind}: {said}", (schedule, int(config["steps"])))
    drawn = Drawn()
    for name, values in constant.items():
        each = ", ".join(f"{value:g}" for value in sorted(values))
        drawn.notes.append(f"{name} is constant over a run: {each}")
    if moving:
        few = dict(list(moving.items())[:MOST])
        longest = max(steps for _, steps in few.values())
        drawn.figure = schedule_plot({name: schedule for name, (schedule, _) in few.items()}, longest)
        if len(moving) > MOST:
            drawn.notes.append(f"{len(moving) - MOST} more schedules are not drawn; filter with KNOB=VALUE")
    return drawn


def _schedule(node: Mapping[str, Any]) -> Callable[[int], float] | None:
    """The schedule of a configuration's node; None for one that is not of disvae or does not build any more."""
    module, _, name = str(node.get("_target_", "")).rpartition(".")
    if not module.startswith("disvae.schedule."):
        return None
    try:
        settings = {key: value for key, value in node.items() if key != "_target_"}
        built: Callable[[int], float] = getattr(importlib.import_module(module), name)(**settings)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
    return built
