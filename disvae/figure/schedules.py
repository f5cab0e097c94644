"""Weights of a run's objective at each step."""

from matplotlib.figure import Figure

from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.schedule_plot import schedule_plot
from disvae.vae import VAE


def schedules(vae: VAE, view: FigureData) -> Figure:
    """Return a panel for each weight that follows a schedule.

    Raises:
        NotDrawable: no weight follows a schedule.
    """
    if not view.schedules:
        raise NotDrawable("the objective must have a weight that follows a schedule")
    return schedule_plot(view.schedules, view.steps)
