"""Objects from the nodes of a configuration: the only place that decides which code a `_target_` may run.

A run folder may come from another person, so its configuration is not trusted. A node is checked completely before
anything is built: its `_target_` must be defined in the package of its family, in disvae or in a plugin that the user
allows, and every other key must be a parameter of that class or function. No other module is imported, because
importing a module runs its code. Imports no torch.
"""

import collections.abc
import importlib
import inspect
import math
import re
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Union, get_args, get_origin

from disvae.config import LISTS, LONGEST, MOST, ConfigError, packages
from disvae.system.overrides import unknown
from disvae.system.plugins import how

ANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
"""Kinds of parameters that are not settings: *args and **kwargs."""


LARGEST = {"seed": 2**32 - 1, "steps": LONGEST, "every": LONGEST}
"""The largest value of whole numbers that are no counts, by the name of the setting."""


@dataclass(frozen=True)
class _Part:
    """A checked node: a class or function and its settings, which may be parts themselves."""

    key: str
    target: Callable[..., Any]
    settings: dict[str, Any]

    def function(self) -> Callable[..., Any]:
        """Return the target with its settings filled in; settings that are parts are built."""
        built = {name: value.build() if isinstance(value, _Part) else value for name, value in self.settings.items()}
        return partial(self.target, **built)

    def build(self, **arguments: Any) -> Any:
        """Build and return the object, or raise ConfigError if it refuses a value or is larger than the memory."""
        try:
            return self.function()(**arguments)
        except (ValueError, OSError, OverflowError, MemoryError, RuntimeError) as error:  # torch: RuntimeError
            if isinstance(error, ConfigError):
                raise
            reason = str(error).partition("\n")[0] or "not enough memory"
            raise ConfigError(f"{self.key}: {reason}") from error


def make(node: Mapping[str, Any], key: str, **arguments: Any) -> Any:
    """Return the object that the resolved node at `key` describes; `arguments` are passed to its class unchecked.

    Raises:
        ConfigError: the target is not in its family, a key is not a setting, a value has the wrong type, or the object
            refuses a value.
    """
    return _checked(node, key.partition(".")[0], key, given=arguments).build(**arguments)


def check_node(node: Mapping[str, Any], key: str, *given: str) -> None:
    """Check the resolved node at `key` and build nothing; a caller that builds it passes the arguments `given`.

    Raises:
        ConfigError: the target is not in its family, a key is not a setting, or a value has the wrong type.
    """
    _checked(node, key.partition(".")[0], key, given=given)


def prepared(node: Mapping[str, Any], key: str, positional: int) -> Callable[..., Any]:
    """Return the function that the resolved node at `key` describes; a caller passes `positional` arguments.

    Raises:
        ConfigError: the target is not in its family, a key is not a setting, or a value has the wrong type.
    """
    return _checked(node, key.partition(".")[0], key, positional).function()


def _checked(node: Any, family: str, key: str, positional: int = 0, given: Collection[str] = ()) -> _Part:
    """Compare a node, and the nodes inside it, with the signatures of their targets, and return the checked node.

    The first `positional` parameters of the target and the parameters in `given` are not settings: the program passes
    them.

    Raises:
        ConfigError: a key does not fit; the message names the first one, its value and what it must be.
    """
    if family in LISTS and isinstance(node, Mapping) and node and "_target_" not in node:  # an experiment's settings
        raise ConfigError(unknown(f"{key}.{next(iter(node))}"))
    target = _target(node.get("_target_") if isinstance(node, Mapping) else node, family, key)
    parameters = inspect.signature(target).parameters
    kinds = typing.get_type_hints(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    for name in given:
        if name not in parameters:
            raise ConfigError(f"{key}._target_ must be a {family} that takes {name}, got {node['_target_']!r}")
    own = [name for name in list(parameters)[positional:] if name not in given and parameters[name].kind not in ANY]
    settings = {}
    for name, value in node.items():
        where, kind = f"{key}.{name}", kinds.get(name, Any)
        if name == "_target_":
            continue
        if name not in own:
            raise ConfigError(f"{where} is not a setting of {target.__name__}, which has {', '.join(own) or 'none'}")
        inner = next(filter(None, map(_family, _options(kind))), "")
        if inner and isinstance(value, Mapping) and "_target_" in value:
            settings[name] = _checked(value, inner, inner if inner == name else f"{inner}.{name}")
        elif _fits(value, kind):
            _check_size(where, value, kind)
            settings[name] = value
        elif inner:
            hint = "leave it out" if isinstance(value, Mapping) else f"type {name}={_short(value).strip(chr(39))}"
            raise ConfigError(f"{where} is a {inner}, not {_short(value)}: {hint}")
        else:
            raise ConfigError(f"{where} must be {_say(kind)}, got {_short(value)}")
    missing = [name for name in own if name not in node and parameters[name].default is inspect.Parameter.empty]
    if missing:
        raise ConfigError(f"{key}.{missing[0]} is missing: {target.__name__} needs {', '.join(missing)}")
    return _Part(key, target, settings)


def _check_size(key: str, value: Any, kind: Any) -> None:
    """Raise ConfigError for a number that is not finite, or a count for which no machine has the time or the memory."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            _check_size(f"{key}.{name}", item, kind)
    elif isinstance(value, list):
        for item in value:
            _check_size(key, item, get_args(kind)[0] if get_args(kind) else kind)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{key} must be a finite number, got {value}")
    elif isinstance(value, int) and float not in _options(kind):
        most = LARGEST.get(key.rpartition(".")[2], MOST)
        if abs(value) > most:
            raise ConfigError(f"{key} must be at most {most:,}, because more takes days or all memory, got {value}")


def _target(path: Any, family: str, key: str) -> Callable[..., Any]:
    """Return the public class or function at `path`, which must be defined in the package of `family`.

    Raises:
        ConfigError: the target is private or not in the family; its module was not imported.
    """
    rooms = [f"{package}.{family}" for package in packages()]
    plugin = path.partition(f".{family}.")[0] if isinstance(path, str) and f".{family}." in path else ""
    hint = "" if plugin in ("", *packages()) else f"; {plugin[:100]!r} is not an allowed plugin: {how(plugin)}"
    said = f"{key}._target_ must be a class or function of {' or '.join(rooms)}, got {_short(path)}"
    refused = ConfigError(said + hint)
    room = next((room for room in rooms if isinstance(path, str) and path.startswith(f"{room}.")), None)
    if room is None or not re.fullmatch(r"(\.[A-Za-z]\w*){2,}", path.removeprefix(room), re.ASCII):
        raise refused
    module, _, name = path.rpartition(".")
    try:
        target = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}._target_ does not exist: {path!r} ({error})") from error
    # The names of a module include its imports, for example from os or from another family.
    if not (inspect.isclass(target) or inspect.isfunction(target)) or not target.__module__.startswith(f"{room}."):
        raise refused
    return typing.cast(Callable[..., Any], target)


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the alternatives of an annotation: int and NoneType for `int | None`."""
    return get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)


def _family(kind: Any) -> str:
    """Return the family of a class in an annotation: `schedule` for disvae.schedule.Schedule; empty if it has none."""
    package, _, family = getattr(kind, "__module__", "").partition(".")
    return family if inspect.isclass(kind) and package == "disvae" else ""


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a YAML value fits the annotation `kind`; Any fits every single value."""
    origin = get_origin(kind)
    if origin is Literal:
        return value in get_args(kind)
    if len(_options(kind)) > 1:
        return any(_fits(value, option) for option in _options(kind))
    if origin in (list, tuple, collections.abc.Sequence):
        item = get_args(kind)[0]
        return isinstance(value, list) and all(_fits(element, item) for element in value)
    if origin is collections.abc.Mapping:
        return isinstance(value, Mapping) and all(_fits(element, get_args(kind)[1]) for element in value.values())
    if kind is type(None):
        return value is None
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, kind) if kind in (bool, str) else not (_family(kind) or isinstance(value, (Mapping, list)))


SEVERAL = {float: "numbers", int: "whole numbers", bool: "true or false", str: "names"}
"""Several values of a type in words."""


def _say(kind: Any) -> str:
    """Return an annotation in words, for an error message."""
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    if len(_options(kind)) > 1:
        return " or ".join(map(_say, _options(kind)))
    if get_origin(kind) is collections.abc.Mapping:
        return f"{SEVERAL[get_args(kind)[1]]} by name, {{NAME: VALUE}}"
    if get_origin(kind) in (list, tuple, collections.abc.Sequence):
        item = get_args(kind)[0]
        return f"a list of {f'lists of {SEVERAL[get_args(item)[0]]}' if get_args(item) else SEVERAL[item]}"
    names = {
        float: "a number", int: "a whole number", bool: "true or false", str: "a name", type(None): "null",
        Any: "a single value",
    }  # fmt: skip
    return names.get(kind, str(kind))


def _short(value: Any) -> str:
    """Return a value for an error message; a nested container, which may be huge, is shortened."""
    return repr(value) if isinstance(value, str) else reprlib.repr(value)
