"""Hydra's composition of a configuration, outside of Hydra's own command line. Imports no torch."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from disvae.config import conf_dir

_ONE_AT_A_TIME = threading.RLock()
"""Hydra has one state for a process, which threads of a notebook must not change at the same time."""


@contextmanager
def composing() -> Iterator[None]:
    """Let hydra.compose read conf/ in the body, also in a program that uses Hydra itself."""
    with _ONE_AT_A_TIME:
        theirs = GlobalHydra.instance().hydra
        GlobalHydra.instance().clear()
        try:
            with initialize_config_dir(str(conf_dir()), version_base="1.3"):
                yield
        finally:
            GlobalHydra.instance().hydra = theirs
