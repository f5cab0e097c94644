"""Schedules of the runs of a comparison, each drawn once. Imports no torch: schedules are plain Python."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from disvae.comparison.groups import Comparison, shown
from disvae.config import ConfigError
from disvae.pictures.schedule_plot import schedule_plot
from disvae.runs.contents import NUMBER
from disvae.runs.folder import Run
from disvae.runs.settings import WEIGHTS
from disvae.system.instantiate import make

MOST_SCHEDULES = 8
"""Most panels; a note counts the schedules that are not drawn."""


@dataclass
class DrawnSchedule:
    """A figure with a panel for each schedule that changes, and notes on all others."""

    figure: Figure | None = None
    notes: list[str] = field(default_factory=list)


def schedule_figure(comparison: Comparison) -> DrawnSchedule:
    """Return the schedules of the weights, read from one run of each group."""
    moving: dict[str, tuple[Callable[[int], float], int]] = {}
    constant: dict[str, set[float]] = {}
    drawn = DrawnSchedule()
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
            if str(node.get("_target_", "")).endswith(".Constant") and NUMBER.test(node.get("value")):
                constant.setdefault(name, set()).add(float(node["value"]))
                continue
            try:
                schedule = make(node, f"schedule.{name}")
            except ConfigError as error:
                drawn.notes.append(f"{group.rows[0].name}: {error}")
                continue
            said = ", ".join(f"{key} {shown(value)}" for key, value in node.items() if key != "_target_")
            kind = str(node["_target_"]).split(".")[-2]
            label, steps = f"{name}, {kind}: {said}", int(config["steps"])
            moving[label] = (schedule, max(steps, moving[label][1] if label in moving else 0))
    for name, values in constant.items():
        each = ", ".join(f"{value:g}" for value in sorted(values))
        drawn.notes.append(f"{name} is constant: {each}")
    if moving:
        few = dict(list(moving.items())[:MOST_SCHEDULES])
        longest = max(steps for _, steps in few.values())
        drawn.figure = schedule_plot({name: schedule for name, (schedule, _) in few.items()}, longest)
        if len(moving) > MOST_SCHEDULES:
            drawn.notes.append(
                f"{len(moving) - MOST_SCHEDULES} more schedules are not drawn; filter with SETTING=VALUE"
            )
    return drawn
