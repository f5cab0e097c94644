"""A process that is killed after some changes to the disk."""

from collections.abc import Callable
from typing import Any


class Killed(BaseException):
    """Stands for kill -9."""


class Changes:
    """Changes to the disk, of which `left` are made before the process is killed."""

    def __init__(self) -> None:
        self.left = 0

    def limited(self, change: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that makes a change, or is killed instead."""

        def changed(*arguments: Any, **options: Any) -> Any:
            if self.left == 0:
                raise Killed
            self.left -= 1
            return change(*arguments, **options)

        return changed
