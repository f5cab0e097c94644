"""The folders conf/ of allowed plugins, in the package where Hydra looks for its own plugins."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from disvae.config import conf_dirs


class DisvaeSearchPath(SearchPathPlugin):
    """A search path with the options of disvae's plugins, in every configuration that Hydra composes."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder conf/ of each allowed plugin."""
        for folder in conf_dirs()[1:]:
            search_path.append("disvae-plugin", f"file://{folder}")
