"""Heavy imports in half the time: for a process that does one command, not for a notebook. Imports no torch."""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from types import ModuleType
from typing import Any


@contextmanager
def loading() -> Iterator[None]:
    """What is imported in the body stays to the end of the process, so the garbage collector need not look at it.

    It would, a dozen times while torch and Lightning are imported and again as the process ends, which is two fifths of
    a run of one step.
    """
    collecting, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        with _without_torchmetrics():
            yield
    finally:
        if len(sys.modules) > known:  # else it would keep a former run's garbage
            gc.freeze()
        if collecting:
            gc.enable()


class _Metric:
    """In place of torchmetrics' class, which Lightning's own `log` derives from."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("self.log is not available; training/callbacks.py writes curves")


@contextmanager
def _without_torchmetrics() -> Iterator[None]:
    """Lightning imports torchmetrics, and with it scipy.signal and matplotlib, for two classes that `log` knows.

    Nothing here logs through Lightning. The stand-in leaves with the body: who imports torchmetrics then gets it.
    """
    if "torchmetrics" in sys.modules or "pytorch_lightning" in sys.modules:
        yield
        return
    stand_in = ModuleType("torchmetrics")
    vars(stand_in).update(__version__=metadata.version("torchmetrics"), Metric=_Metric, MetricCollection=_Metric)
    sys.modules["torchmetrics"] = stand_in
    try:
        yield
    finally:
        del sys.modules["torchmetrics"]
