"""Plot the weights of an objective over the steps of a run. Imports no torch: it also draws before training."""

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure

from disvae.pictures.style import COLOURS


def schedule_plot(named: Mapping[str, Callable[[int], float]], steps: int) -> Figure:
    """Return a figure with one panel per schedule (name -> function of the step) over all `steps`."""
    if not named or steps < 1:
        raise ValueError(f"schedules must be named and steps positive, got {list(named)} and {steps}")
    figure = Figure(figsize=(6.4, 1.0 + 1.6 * len(named)), layout="constrained")
    panels = figure.subplots(len(named), sharex=True, squeeze=False)[:, 0]
    step = np.unique(np.linspace(0, steps - 1, min(steps, 2000)).round().astype(int))
    for i, (panel, (name, schedule)) in enumerate(zip(panels, named.items(), strict=True)):
        weight = [schedule(int(t)) for t in step]
        panel.plot(step, weight, color=COLOURS[i % len(COLOURS)], linewidth=2)
        panel.set_title(f"{name}: {weight[0]:g} at the first step, {weight[-1]:g} at the last", loc="left", fontsize=10)
        panel.set_ylabel(f"{name} (nats)" if name == "capacity" else name)
        panel.set_ylim(bottom=0, top=1.1 * max(weight) or 1)
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("optimiser step")
    panels[-1].set_xlim(0, max(steps - 1, 1))
    return figure
