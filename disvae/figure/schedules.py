"""Weights of a run's objective at each step."""

from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.schedule_plot import schedule_plot
from disvae.vae import VAE


def schedules(vae: VAE, view: FigureData) -> Figure:
    """Return a panel for each weight that follows a schedule.

    Raises:
        NotDrawable: no weight changes during the run.
    """
    ends = (0, view.steps // 3, view.steps // 2, view.steps - 1)
    changing = {name: of for name, of in view.schedules.items() if len({of(max(step, 0)) for step in ends}) > 1}
    if not changing:
        raise NotDrawable("the objective must have a weight that changes during the run")
    return schedule_plot(changing, view.steps)
