"""disvae: train, score and compare disentangled variational auto-encoders.

docs/python.md describes load, runs, score, train and TrainedRun. Each is imported when it is first used, so that the
command line starts without torch; __init__.pyi holds their types.
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

__version__ = "0.1.0"

if sys.argv[:1] == ["-m"]:  # Python looks for the command of python -m disvae.COMMAND
    for _name in ("hydra", "torch", "pytorch_lightning", "rich", "h5py", "sklearn", "filelock"):
        if find_spec(_name) is None:
            print(
                f"disvae: {sys.executable} lacks the package {_name}: type source .venv/bin/activate after "
                "./scripts/setup, or pip install . in the folder of disvae's source",
                file=sys.stderr,
            )
            sys.exit(2)

_FUNCTIONS = {"runs": "tables", "score": "scoring", "train": "training"}
"""Files of disvae/api/ by the name of their function; disvae.NAME is a module too, with a command or a room in it."""

_OTHERS = {"TrainedRun": "trained", "TrainedVAE": "trained", "load": "trained"}
"""Files of disvae/api/ by the other names that they give to the package."""

__all__ = [*_FUNCTIONS, *_OTHERS]


class _CallableModule(ModuleType):
    """A module that is also the function of its name, for Python puts the module disvae.train in the function's place.

    disvae.train("beta=6") works before and after somebody writes `from disvae.train import main`.
    """

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call the function of this name in disvae/api/; docs/python.md describes it."""
        name = self.__name__.rpartition(".")[2]
        return getattr(import_module(f"disvae.api.{_FUNCTIONS[name]}"), name)(*arguments, **settings)


class _Package(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FUNCTIONS and isinstance(value, ModuleType):
            value.__class__ = _CallableModule
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        return import_module(f"disvae.{name}")
    if name in _OTHERS:
        return getattr(import_module(f"disvae.api.{_OTHERS[name]}"), name)
    raise AttributeError(f"module 'disvae' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
