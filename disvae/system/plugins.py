"""Plugins: packages of the user with options of their own, which run only where the user allows them.

A plugin is a package with the same folders as disvae: mypackage/conf/prior/mine.yaml names mypackage.prior.mine.Mine.
It is allowed for this process and those that it starts by plugins=[mypackage], by the variable DISVAE_PLUGINS, or by
an experiment that names it. A run folder allows nothing: the plugins in its config.yaml are only compared with the
allowed ones. Imports no torch.
"""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from disvae.config import PLUGINS, ConfigError, conf_dir, option_files, package_folder, packages


def allow_plugins(overrides: Sequence[str]) -> list[str]:
    """Allow the plugins that the overrides name, directly or through an experiment; return the other overrides.

    Raises:
        ConfigError: a plugin is not found, or has an option of a name that another package has; the message names it.
    """
    typed = [override for override in overrides if override.lstrip("+").startswith("plugins=")]
    _allow(name for override in typed for name in _names(override.partition("=")[2]))
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        experiments = option_files("experiment") if key == "experiment" else {}
        for path in (experiments[name] for name in _names(value) if name in experiments):
            _allow(_of_experiment(path))
    return [override for override in overrides if override not in typed]


def _names(text: str) -> list[str]:
    return re.findall(r"[^\s,\[\]'\"]+", text)


def _of_experiment(path: Path) -> list[str]:
    """Return the plugins that the YAML of an experiment names; Hydra reads it later, when they are on its path."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")).get("plugins", [])
    except (yaml.YAMLError, AttributeError) as error:
        raise ConfigError(f"{path} is not readable: {' '.join(str(error).split())}") from error
    return list(map(str, found)) if isinstance(found, list) else [str(found)]


def _allow(names: Iterable[str]) -> None:
    """Add packages to the allowed ones, and check all of them.

    Raises:
        ConfigError: a package is not found or has no options, or an option has the name of another one.
    """
    allowed = dict.fromkeys([*packages()[1:], *names])
    if not allowed:
        return
    owner = {option: "disvae" for option in _options(Path(__file__).parents[1], conf_dir())}
    for name in allowed:
        known = re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)*", name, re.ASCII) and name.partition(".")[0] != "disvae"
        folder = package_folder(name) if known else None
        if folder is None or not (folder / "conf").is_dir():
            raise ConfigError(
                f"plugins must be packages with a folder conf/, and no such package is found for {name!r}: install it, "
                "or add the folder that holds it to PYTHONPATH"
            )
        for option in _options(folder, folder / "conf"):
            if owner.setdefault(option, name) != name:
                raise ConfigError(f"plugin {name} has {option}, and so has {owner[option]}: rename that of {name}")
    os.environ[PLUGINS] = ",".join(allowed)


def _options(folder: Path, conf: Path) -> set[str]:
    """Return the options of a package, `prior/laplace`, and the modules in the folders of its groups."""
    groups = {path.name for path in conf.glob("*/")}
    modules = {f"{group}/{path.stem}" for group in groups for path in (folder / group).glob("[!_]*.py")}
    return modules | {f"{path.parent.name}/{path.stem}" for path in conf.glob("*/*.yaml")}


def check_plugins(names: Iterable[Any], where: Path) -> None:
    """Check that the plugins of a run are allowed here; none of them is imported.

    Raises:
        ConfigError: a plugin is not allowed; the message names it and what to type.
    """
    for name in names:
        if name not in packages()[1:]:
            raise ConfigError(f"{where} uses the plugin {str(name)[:100]!r}, which is not allowed here: {how(name)}")


def plugins_of(config: Mapping[str, Any]) -> list[Any]:
    """Return the names of the plugins in the configuration of a run, which may have been written by anybody."""
    named = config.get("plugins", [])
    return named if isinstance(named, list) else [named]


def how(name: Any) -> str:
    """Return what to type to allow a plugin."""
    return f"if you trust its code, type plugins=[{str(name)[:100]}] or set {PLUGINS}"
