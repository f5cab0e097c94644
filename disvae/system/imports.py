"""Heavy imports in half the time: for a process that does one command, not for a notebook. Imports no torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """What is imported in the body stays to the end of the process, so the garbage collector need not look at it.

    It would, a dozen times while torch and Lightning are imported and again as the process ends, which is two fifths of
    a run of one step.
    """
    collecting, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:  # else it would keep a former run's garbage
            gc.freeze()
        if collecting:
            gc.enable()
