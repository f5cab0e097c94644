"""Fast heavy imports, for a process that runs one command and not for a notebook. Imports no torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from disvae.config import ConfigError


@contextmanager
def loading() -> Iterator[None]:
    """Exclude what the body imports from garbage collection, because it stays until the process ends.

    Otherwise the collector scans it a dozen times while torch and Lightning are imported and once at exit, which takes
    two fifths of the time of a one-step run.
    """
    collecting, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:  # otherwise freezing would only keep garbage of an earlier run
            gc.freeze()
        if collecting:
            gc.enable()


def require(package: str, what: str) -> None:
    """Check that an optional package, which `what` needs, is installed.

    Raises:
        ConfigError: the package is missing; the message says what to type.
    """
    if find_spec(package) is None:
        raise ConfigError(f"{what} needs the package {package}: type pip install {package}")
