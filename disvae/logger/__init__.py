"""Logger: a function (folder, step, settings) -> Lightning's Logger, for the curves of one run.

`folder` is the run's folder, and `step` the number of steps that are done when the logger is made, which is not 0 for a
run that goes on from a checkpoint.
"""

from importlib.util import find_spec


def require(package: str, option: str) -> None:
    """Check that an optional package is installed.

    Raises:
        ValueError: saying what to install.
    """
    if find_spec(package) is None:
        raise ValueError(f"logger={option} needs the package {package}: pip install {package}")
