"""Parts of one command computed at once, by processes that share what this one holds. Imports no torch."""

import os
import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from disvae.system.signals import take_signals

MOST_PROCESSES = 4
"""Most processes at once; each may come to hold a copy of what it reads."""

_Result = TypeVar("_Result")

_parts: Sequence[Callable[[], object]] = ()  # of a forked process


def all_at_once(parts: Sequence[Callable[[], _Result]]) -> list[_Result]:
    """Return the results of functions without arguments, in order; the results are pickled, the functions are not.

    On Linux, as many processes as this one may use cores are forked, and a function must not rely on what another
    one changes. A process that has imported torch is not forked, since its threads would be missing in the copies:
    it calls the functions itself, as it does when a copy is killed.

    Raises:
        Exception: what the first function that fails raises.
    """
    if sys.platform == "linux" and "torch" not in sys.modules:
        processes = min(len(parts), len(os.sched_getaffinity(0)), MOST_PROCESSES)
        if processes > 1:
            try:
                with ProcessPoolExecutor(processes, get_context("fork"), _begin, (parts,)) as pool:
                    return list(pool.map(_call, range(len(parts))))  # type: ignore[arg-type]
            except BrokenProcessPool:
                pass
    return [part() for part in parts]


def _begin(parts: Sequence[Callable[[], object]]) -> None:
    global _parts  # pickling the functions would copy all that they hold
    _parts = parts
    take_signals(signal.SIG_DFL)  # Ctrl-C is for the process that waits


def _call(number: int) -> object:
    return _parts[number]()
