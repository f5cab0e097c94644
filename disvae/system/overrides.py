"""Overrides as people type them, and the errors of Hydra and OmegaConf as one line that says what to type instead."""

import difflib
import functools
import re
import shlex
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException

from disvae.config import FACTS, LISTS, ConfigError, groups, options, read_conf

FLAGS = ("-h", "--help", "--hydra-help", "--version", "--resolve", "-r", "--run", "-m", "--multirun", "-sc",
         "--shell-completion")  # fmt: skip
"""Hydra's flags that stand alone."""

VALUED = {
    **dict.fromkeys(("-c", "--cfg"), ("job", "hydra", "all")),
    **dict.fromkeys(("-i", "--info"), ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")),
    **dict.fromkeys(("-p", "--package", "-cp", "--config-path", "-cn", "--config-name", "-cd", "--config-dir"), ()),
}
"""Hydra's flags that take a value, and the allowed values; an empty tuple stands for any value."""

OTHER_WORDS = {
    "epochs": "steps",
    "max_epochs": "steps",
    "iterations": "steps",
    "latents": "z_dim",
    "latent_dim": "z_dim",
    "batch": "batch_size",
    "device": "trainer.accelerator",
    "gpu": "trainer.accelerator",
    "loss": "objective",
    "data": "dataset",
    "output": "out",
    "name": "out",
    "hydra.sweeper.n_trials": "hydra.sweeper.trials",
}
"""Names that other programs have for a setting."""


def ordered(arguments: Sequence[str]) -> list[str]:
    """Return the command line with flags before overrides, because argparse takes overrides from one place only.

    Raises:
        ConfigError: a flag does not exist or lacks its value, or a word is no override.
    """
    flags: list[str] = []
    overrides: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            overrides.append(word)
            continue
        flag, equals, value = word.partition("=")
        if flag.startswith("--e"):
            raise ConfigError("--experimental-rerun would run code in a pickle: repeat the run's own command")
        if flag in FLAGS and not equals:
            flags.append(word)
            continue
        if flag not in VALUED:
            raise ConfigError(f"{word} is not a flag: settings have the form NAME=VALUE, and --help lists them")
        if not equals and words and (words[0] in VALUED[flag] or not VALUED[flag]):
            value = words.pop(0)
        elif flag in ("-i", "--info") and not equals:
            value = "all"
        if (VALUED[flag] and value not in VALUED[flag]) or not value:
            raise ConfigError(f"{flag} must be {' or '.join(VALUED[flag]) or 'followed by a value'}, got {value!r}")
        flags += [flag, value]
    modes = [flag for flag in flags if flag in ("-r", "--run", "-m", "--multirun", "-c", "--cfg", "-i", "--info")]
    if len(modes) > 1:
        raise ConfigError(f"{' and '.join(modes)} cannot go together: leave out one of them")
    if "--resolve" in flags and not {"-c", "--cfg"} & {*flags}:
        raise ConfigError("--resolve works with --cfg job only: leave it out")
    check_forms(overrides)
    return [*flags, *overrides]


def check_forms(overrides: Sequence[str]) -> None:
    """Refuse a word that is no override, before Hydra reads it.

    Raises:
        ConfigError: the word has no name or no value.
    """
    for i, word in enumerate(overrides):
        key, equals, value = word.partition("=")
        if equals and key.strip() and key != key.strip():
            raise ConfigError(f"{word!r} is not a setting: type {key.strip()}={value.strip()}, without spaces around =")
        if not key.strip(" +~"):
            before = f"{overrides[i - 1]}=" if i and "=" not in overrides[i - 1] else "NAME="
            raise ConfigError(f"{word!r} is not a setting: type {before}VALUE, without spaces around =")
        if not equals and not word.startswith("~"):
            raise ConfigError(f"{word!r} is not a setting: type {word}=VALUE, without spaces around =")


def _leaves(tree: Any, above: str) -> Iterator[str]:
    """Yield the dotted name of each setting in a tree."""
    if not isinstance(tree, Mapping) or not tree:
        yield above
        return
    for key, value in tree.items():
        if key != "_target_" and key not in FACTS:
            yield from _leaves(value, f"{above}.{key}" if above else str(key))


@functools.cache
def known_settings() -> dict[str, list[str]]:
    """Return the choices that have each setting of conf/, such as `prior=sparse`; a general setting has no choices."""
    general = read_conf("config")
    found: dict[str, list[str]] = {name: [] for name in _leaves(general, "")}
    found |= {name: [] for name in _leaves(read_conf("score"), "score")}
    for group in sorted(groups()):
        for option in options(group) if group not in ("hydra", "experiment", "hparams_search", "debug") else ():
            tree = read_conf(f"{group}/{option}")
            places = {group: f"{group}={option}"}
            if group == "schedule":
                places = {
                    f"schedule.{name}": f"schedule@schedule.{name}={option}" for name in read_conf("config")["schedule"]
                }
            elif group in LISTS:
                places = {f"{group}.{option}": f"{group}=[{option}]"}
            tree = tree.get("dataset", tree)  # a dataset may also change other settings
            for above, choice in places.items():
                for name in _leaves(tree, above):
                    found.setdefault(name, []).append(choice)
    return found


def unknown(key: str) -> str:
    """Return a line on a setting that the configuration does not have: what has it, or which names are near."""
    known = known_settings()
    group = key.partition(".")[0]
    choices = known.get(key, [])
    if choices and group in LISTS:
        option = key.split(".")[1]
        return f"{key} has no effect, because {option} is not in {group}=[...]: add {option} to {group}=[...]"
    if choices:
        return f"{key} has no effect with these choices: type also {' or '.join(choices)}"
    if key in known:
        return f"{key} is a setting of training and not of this command: --help lists its settings"
    other = OTHER_WORDS.get(key)
    above, _, leaf = key.rpartition(".")
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == above}
    near = [other] if other else [beside[name] for name in difflib.get_close_matches(leaf, beside, n=2)]
    near = near or [name for name in known if name.rpartition(".")[2] == leaf][:4]
    if not near and "." not in key:
        near = difflib.get_close_matches(key, {name.partition(".")[0] for name in known}, n=1)
    if near:
        return f"{key} is not a setting; did you mean {' or '.join(f'{name}=' for name in near)}?"
    own = [name for name in known if name.startswith(f"{group}.")]
    return f"{key} is not a setting; " + (f"there are {', '.join(own)}" if 0 < len(own) < 20 else "--help lists them")


def no_option(group: str, got: str, among: Sequence[str]) -> str:
    """Return a line on an option that a group does not have: the options, and the nearest one."""
    near = difflib.get_close_matches(got, among, n=1, cutoff=0.5)
    return f"{group} must be one of {', '.join(among)}, got {got!r}" + (f"; did you mean {near[0]}?" if near else "")


def typed(overrides: Any) -> list[str]:
    """Return Hydra's list of overrides as they were typed, in which ${steps} is a word and refers to nothing."""
    words: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(word) for word in words]


def as_override(value: Any) -> str:
    """Return a value as the command line writes it: [1, None] is [1,null], {"a": True} is {a:true}."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{as_override(child)}" for key, child in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{','.join(map(as_override, value))}]"
    text = str(value)
    if re.fullmatch(r"[\w.+/-]+", text, re.ASCII):
        return text
    escaped = re.sub(r'(\\*)("|\Z)', lambda found: 2 * found[1] + found[2].replace('"', r"\""), text)
    return f'"{escaped}"'


def _quoted(override: str) -> str:
    """Return an override with quotes that the shell and Hydra need; in a plain list, those of its entries."""
    key, _, value = override.partition("=")
    plain_list = re.fullmatch(r"\[[^][{}]+\]", value)
    entries = [entry.strip(" \"'") for entry in value[1:-1].split(",")] if plain_list else value.strip("\"'")
    return shlex.quote(f"{key}={as_override(entries)}")


def in_words(error: Exception, overrides: Sequence[str]) -> str:
    """Return an error of Hydra or OmegaConf as a line that names the setting and says what to type."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if isinstance(error, OverrideParseException):
        override = str(error.override)
        return (
            f"{override} cannot be read: brackets and quotes must be closed, and a value with =, ~, spaces or letters "
            f"beyond English ones needs quotes: type {_quoted(override)}"
        )
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        group, _, option = error.missing_cfg_file.rpartition("/")
        if among := error.options or options(group):  # Hydra names none for an option in a list
            return no_option(group, option, among)
    if isinstance(error, InterpolationKeyError):
        name = re.search(r"Interpolation key '(.+?)' not found", lines[0])
        reference = "${" + (name[1] if name else "")
        where = error.full_key or next((each for each in overrides if reference in each), "an override")
        return f"{where} refers to {reference}}}, which is not a setting"
    key = getattr(error, "full_key", None)
    if key:
        return unknown(key) if "is not in struct" in lines[0] else f"{key}: {lines[0]}"
    missing = re.match(r"Could not override '(.+?)'", lines[0]) or re.search(r"add or override '(.+?)'", lines[0])
    if missing:
        return unknown(missing[1].partition("@")[2] or missing[1])
    merged = re.match(r"Error merging override (.+)", lines[0])
    if merged:
        return (
            f"{merged[1]} is not the kind of value that {merged[1].partition('=')[0]} takes: --help shows its default"
        )
    several = re.match(r"Ambiguous value for argument '(.+)'", lines[0])
    if several:
        return f"{several[1]} has several values: add -m for a sweep of them, or type a list in brackets"
    keys = [override.lstrip("+~").partition("=")[0] for override in overrides]
    inside = next((key for key in keys if key.rpartition(".")[0] in known_settings()), None)
    if inside:
        return f"{inside} is not a setting, because {inside.rpartition('.')[0]} is a value and not a group of settings"
    return f"{' '.join(overrides)}: {lines[0]}"


@contextmanager
def translated(overrides: Sequence[str]) -> Iterator[None]:
    """Turn an error of Hydra or OmegaConf in the body into a ConfigError of one line."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_words(error, overrides)) from error
    except (TypeError, ValueError, RuntimeError) as error:
        *_, (innermost, _) = traceback.walk_tb(error.__traceback__)
        if innermost.f_globals["__name__"].partition(".")[0] not in ("hydra", "omegaconf"):
            raise
        raise ConfigError(in_words(error, overrides)) from error
