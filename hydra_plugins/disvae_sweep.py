"""Where Hydra looks for launchers and sweepers; what they do is in disvae/sweep."""

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper


class DisvaeLauncher(BasicLauncher):
    """Jobs one after another."""


class DisvaeSweeper(BasicSweeper):
    """Hydra's grid."""
