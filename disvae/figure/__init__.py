"""Figure: a function (vae, view, **settings) that returns a matplotlib Figure and writes nothing.

It may instead yield the frames of an animation. What cannot be drawn raises NotDrawable.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeAlias, Union

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a run that draws nothing does without

Drawn: TypeAlias = Union["Figure", Iterator["Figure"]]
"""A picture, or the frames of an animation; a frame may be the one before, changed."""


class NotDrawable(ValueError):
    """This picture is not for this model or these data, and nothing is wrong with either; says what is needed."""
