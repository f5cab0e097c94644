"""Checks of a configuration before anything is computed, and the options in conf/. Imports no torch."""

import difflib
import functools
import hashlib
import importlib.util
import math
import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

BY_REFERENCE = ("beta", "alpha", "divergence", "schedule.beta", "schedule.alpha", "schedule.capacity")
"""Settings that have an effect only if the chosen objective refers to them."""

NEUTRAL = {"beta": 1, "alpha": 0}
"""Values that are allowed for every objective, so that one sweep can span several objectives."""

LATER: dict[str, Any] = {"tags": [], "split.train": None, "on_collapse": "warn", "prior.learn_weights": False}
"""Settings that came after the first runs, which ran with this value; at it they are no part of a configuration."""

FACTS = (
    "better",
    "unsupervised",
    "headline",
    "enough_images",
    "packs_on_cpu",
    "files",
    "needs",
    "supervision",
    "on_request",
)
"""Keys in the YAML of an option that describe the option. They are not passed to its class and not stored in runs.

They are in the YAML because they are needed where importing the class, and torch with it, takes too long.
"""

NULLABLE = ("experiment", "hparams_search", "debug", "scheduler")
"""Groups in which no option need be chosen; null stands for none."""

LISTS = ("metric", "figure", "callbacks", "logger")
"""Groups in which a list of several options may be chosen."""

CONTROLS = ("untrained", "pca", "ica", "rotation")
"""Baselines: the untrained encoder, principal and independent components of the pixels, randomly rotated codes."""

PLUGINS = "DISVAE_PLUGINS"
"""The environment variable with the allowed plugins, separated by commas; processes that a sweep starts inherit it."""

ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
"""Allowed devices; auto is a GPU if there is one."""

MOST = 1_000_000
"""The largest count of anything but steps: more rows, votes or trees take days, or all memory of a machine."""

LONGEST = 1_000_000_000
"""The largest number of steps; they take months."""

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
"""Allowed precisions: float32; TensorFloat-32 products on a GPU; bfloat16 in the networks only.

float16 is missing because it needs loss scaling, and float64 because images are float32.
"""

OF_LIGHTNING: dict[str, tuple[bool | str | None, ...]] = {
    "profiler": (None, "simple", "advanced"),
    "benchmark": (None, True, False),
    "deterministic": (None, True, False, "warn"),
    "detect_anomaly": (None, True, False),
}
"""Settings of Lightning's Trainer that conf/trainer/ lacks and that may be added, with their values."""


NO_NAME = re.compile(r"\s*(null|true|false|[+-]?(\d[\d.]*(e[+-]?\d+)?|inf|nan)|\{.*|)\s*", re.IGNORECASE)
"""Values that Hydra does not read as the name of an option."""


class ConfigError(ValueError):
    """An error in what the user asked for; the message names the key, the value and what to type."""


def conf_dir() -> Path:
    """Return the folder conf/ of the source tree, or its copy in an installed package."""
    packaged = Path(__file__).parent / "conf"
    return packaged if packaged.is_dir() else Path(__file__).parents[1] / "conf"


def packages() -> tuple[str, ...]:
    """Return the packages that a `_target_` may refer to: disvae and the plugins that the user allows."""
    return ("disvae", *dict.fromkeys(re.findall(r"[^\s,]+", os.environ.get(PLUGINS, ""))))


def package_folder(package: str) -> Path | None:
    """Return the folder of an allowed package, or None if it is not found. The package itself is not imported."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent if spec and spec.origin and spec.submodule_search_locations else None


def conf_dirs() -> list[Path]:
    """Return the folder conf/ of disvae and those of the allowed plugins."""
    folders = [folder / "conf" for folder in map(package_folder, packages()[1:]) if folder is not None]
    return [conf_dir(), *folders]


def groups() -> frozenset[str]:
    """Return the groups of options, which are the folders in conf/."""
    return frozenset(path.name for conf in conf_dirs() for path in conf.glob("*/"))


def option_files(group: str) -> dict[str, Path]:
    """Return the YAML file of each option of a group, by the name of the option."""
    return {path.stem: path for conf in conf_dirs() for path in sorted((conf / group).glob("*.yaml"))}


def options(group: str) -> list[str]:
    """Return the options of a group, which are the YAML files in its folder."""
    return sorted(option_files(group))


def read_conf(name: str) -> dict[str, Any]:
    """Return the content of conf/NAME.yaml as it is written, without Hydra's own keys `defaults` and `hydra`."""
    return _read(next(path for conf in conf_dirs() if (path := conf / f"{name}.yaml").is_file()))


@functools.cache
def _read(path: Path) -> dict[str, Any]:
    node = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return {str(key): value for key, value in (node or {}).items() if key not in ("defaults", "hydra")}


def facts(group: str, option: str) -> dict[str, Any] | None:
    """Return the FACTS in the YAML of an option, or None if the group has no such option."""
    return _facts(group, option, packages())


@functools.cache
def _facts(group: str, option: str, among: tuple[str, ...]) -> dict[str, Any] | None:
    if option not in options(group):
        return None
    node = read_conf(f"{group}/{option}")
    return {key: node[key] for key in FACTS if key in node}


def targets(tree: Any) -> Iterator[str]:
    """Yield every `_target_` in a configuration."""
    children: Iterable[Any] = tree if isinstance(tree, list) else ()
    if isinstance(tree, Mapping):
        children = tree.values()
        if "_target_" in tree:
            yield str(tree["_target_"])
    for child in children:
        yield from targets(child)


def is_option(node: Any, family: str) -> bool:
    """Return whether a node of a configuration names an option of the family, in disvae or in an allowed plugin."""
    target = str(node.get("_target_")) if isinstance(node, Mapping) else ""
    return target.startswith(tuple(f"{package}.{family}." for package in packages()))


def _settings(tree: Any) -> Any:
    """Return a configuration without the FACTS of its options."""
    if not isinstance(tree, Mapping):
        return tree
    without = FACTS if "_target_" in tree else ()
    return {str(key): _settings(child) for key, child in tree.items() if key not in without}


def _number(key: str, value: Any, *, least: float, whole: bool, most: float = math.inf) -> None:
    kind = "a whole number" if whole else "a finite number"
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not least <= value <= most:
        bound = f">= {least:g}" if most == math.inf else f"from {least:g} to {most:{',d' if whole else 'g'}}"
        raise ConfigError(f"{key} must be {kind} {bound}, got {_shown(value)}")


def _shown(value: Any) -> str:
    """Return a value of a configuration for an error message, in one line that is not too long."""
    if OmegaConf.is_config(value):
        value = OmegaConf.to_container(value, resolve=False)
    return "null" if value is None else textwrap.shorten(repr(value), 100, placeholder="...")


def _names(key: str, value: Any, allowed: Sequence[str], otherwise: str = "") -> None:
    """Raise ConfigError unless a value is a list of allowed names, or the one name that is allowed instead."""
    if otherwise and value == otherwise:
        return
    if not isinstance(value, Sequence) or isinstance(value, str) or any(name not in allowed for name in value):
        alternative = f"{otherwise} or " if otherwise else ""
        raise ConfigError(f"{key} must be {alternative}a list of {', '.join(allowed)}, got {_shown(value)}")


def _check_section(cfg: Any, section: str, default: Iterable[Any], *, open_to_others: bool = False) -> None:
    """Raise ConfigError unless `cfg[section]` is a mapping with the keys of `default`, and with no others."""
    if not isinstance(cfg[section], Mapping) and not OmegaConf.is_dict(cfg[section]):
        raise ConfigError(f"{section} is a group of settings, {section}.NAME=VALUE, got {_shown(cfg[section])}")
    names = list(map(str, default))
    for name in names:
        if name not in cfg[section]:
            raise ConfigError(f"{section}.{name} is missing: leave out what removes it")
    for name in map(str, cfg[section]):
        if name not in names and not open_to_others:
            raise ConfigError(f"{section}.{name} is not a setting; there are {', '.join(names)}")


def _check_sections(cfg: DictConfig) -> None:
    """Raise ConfigError unless every group and every section of conf/config.yaml is there, with its own settings."""
    needed = {path.name for path in conf_dir().glob("*/")} | {"score", *read_conf("config")}
    for key in sorted(needed - {"hydra", *NULLABLE, *LISTS}):
        if key not in cfg:
            raise ConfigError(f"{key} is missing: leave out what removes it")
    for section in ("split", "launcher", "schedule"):
        _check_section(cfg, section, read_conf("config")[section])
    _check_section(cfg, "trainer", read_conf("trainer/default"), open_to_others=True)
    if not isinstance(cfg.out, str) or not cfg.out:
        raise ConfigError(f"out must be a folder, out=PATH, got {_shown(cfg.out)}")
    if not OmegaConf.is_list(cfg.zip):
        raise ConfigError(f"zip must be a list of axes, as in zip=[beta,alpha], got {_shown(cfg.zip)}")


def check_values(cfg: DictConfig) -> None:
    """Check types and ranges of the top-level settings, before anything is imported or built.

    Raises:
        ConfigError: a value is wrong; the message names the key, what it must be and what it is.
    """
    _check_sections(cfg)
    for key in ("beta", "alpha"):
        _number(key, cfg[key], least=0, whole=False)
    for key in ("steps", "eval_every", "log_every", "checkpoint_every"):
        _number(key, cfg[key], least=1, whole=True, most=LONGEST)
    for key, least, most in (("z_dim", 1, 10_000), ("batch_size", 1, MOST), ("eval_images", 2, MOST),
                             ("eval_samples", 2, 100_000)):  # fmt: skip
        _number(key, cfg[key], least=least, whole=True, most=most)
    _number("seed", cfg.seed, least=0, whole=True, most=2**32 - 1)
    for key in ("validation", "held_out"):
        if cfg.split[key] is None and key == "held_out":
            continue  # the dataset's official test images
        _number(f"split.{key}", cfg.split[key], least=0, whole=False, most=0.5)
    if cfg.split["train"] is not None:
        _number("split.train (or null)", cfg.split["train"], least=1, whole=True)
    if not OmegaConf.is_list(cfg.tags) or not all(re.fullmatch(r"[\w.-]+", str(tag)) for tag in cfg.tags):
        raise ConfigError(f"tags must be a list of words, as in tags=[paper,draft], got {_shown(cfg.tags)}")
    if cfg.preview == "claims":
        raise ConfigError("this experiment trains nothing: type python -m disvae.recipes NAME, with its name")
    if cfg.preview not in (None, "schedule"):
        raise ConfigError(f"preview must be schedule or null, got {cfg.preview!r}")
    if cfg.on_collapse not in ("warn", "stop"):
        raise ConfigError(f"on_collapse must be warn or stop, got {cfg.on_collapse!r}")
    for key in ("force", "report"):
        if not isinstance(cfg[key], bool):
            raise ConfigError(f"{key} must be true or false, got {cfg[key]!r}")
    _names("final", cfg.final, options("metric"), otherwise="all")
    _names("final_figures", cfg.final_figures, options("figure"), otherwise="all")
    for name in map(str, cfg.get("logger") or ()):
        package = (facts("logger", name) or {}).get("needs")
        if package and importlib.util.find_spec(package) is None:
            raise ConfigError(f"logger={name} needs the package {package}: type pip install {package}")
    _check_trainer(cfg.trainer)
    _check_launcher(cfg.launcher)
    _check_optimize(cfg)
    check_score(cfg)


def _check_trainer(trainer: Mapping[str, Any]) -> None:
    if trainer["accelerator"] not in ACCELERATORS:
        allowed = ", ".join(ACCELERATORS)
        raise ConfigError(f"trainer.accelerator must be one of {allowed}, got {_shown(trainer['accelerator'])}")
    if trainer["precision"] not in PRECISIONS:
        raise ConfigError(f"trainer.precision must be {', '.join(PRECISIONS)}, got {trainer['precision']!r}")
    if devices(trainer) != 1:
        raise ConfigError(
            f"trainer.devices must be 1 or one GPU's number in a list, got {trainer['devices']!r}: "
            "a sweep uses all devices, a run each (-m)"
        )
    if not isinstance(trainer["graph"], bool):
        raise ConfigError(f"trainer.graph must be true or false, got {trainer['graph']!r}")
    for key, values in OF_LIGHTNING.items():
        if key in trainer and trainer[key] not in values:
            words = ", ".join(_shown(value).strip("'").lower() for value in values)
            raise ConfigError(f"trainer.{key} must be one of {words}, got {_shown(trainer[key])}")
    clip = trainer["gradient_clip_val"]
    if clip is not None:
        _number("trainer.gradient_clip_val", clip, least=0, whole=False)
    if clip == 0:
        raise ConfigError("trainer.gradient_clip_val must be positive, or null for no clipping, got 0")


def _check_launcher(launcher: Mapping[str, Any]) -> None:
    if launcher["processes"] != "auto":
        _number("launcher.processes (or auto)", launcher["processes"], least=1, whole=True, most=10_000)
    if launcher["pack"] != "auto":
        _number("launcher.pack (or auto)", launcher["pack"], least=1, whole=True, most=10_000)
    _number("launcher.per_device", launcher["per_device"], least=1, whole=True, most=1000)
    _number("launcher.retries", launcher["retries"], least=0, whole=True, most=1000)


def _check_optimize(cfg: DictConfig) -> None:
    """Raise ConfigError if the run will not have the result that `optimize` names."""
    stage, _, name = str(cfg.optimize).partition("/")
    if stage.partition("-")[0] not in ("train", "val", "held_out", "metric") or not name:
        raise ConfigError(
            f"optimize must be a tag of metrics.json, val/elbo or metric/mig/histogram, got {cfg.optimize!r}"
        )
    metric = name.partition("/")[0].partition("-")[0]
    at_end = set(cfg.get("metric") or ()) | set(options("metric") if cfg.final == "all" else cfg.final)
    if stage.startswith("metric") and metric not in at_end:
        raise ConfigError(
            f"optimize={cfg.optimize} needs the metric {metric} after the last step: type final=all or final=[{metric}]"
        )


def check_score(cfg: Any) -> None:
    """Check types and values of the settings in `score`.

    Raises:
        ConfigError: a value is wrong; the message names the key, what it must be and what it is.
    """
    _check_section(cfg, "score", read_conf("score"))
    score = cfg["score"]
    for key, allowed in (("images", ("validation", "held_out", "all")), ("codes", ("mean", "sample"))):
        if score[key] not in allowed:
            raise ConfigError(f"score.{key} must be {' or '.join(allowed)}, got {score[key]!r}")
    if not isinstance(score["transport"], bool):
        raise ConfigError(f"score.transport must be true or false, got {score['transport']!r}")
    _number("score.repeats", score["repeats"], least=2, whole=True, most=10_000)
    if score["bins"] is not None:
        _number("score.bins (or null)", score["bins"], least=2, whole=True, most=1000)
    chosen = score["factors"]
    is_list = isinstance(chosen, Sequence) and not isinstance(chosen, str)
    if chosen is not None and not (chosen and is_list and all(isinstance(name, str) for name in chosen)):
        raise ConfigError(f"score.factors must be a list of factors, as in [posX,posY], or null, got {_shown(chosen)}")
    _number("score.seed", score["seed"], least=0, whole=True, most=2**32 - 1)
    _names("score.controls", score["controls"], CONTROLS)


def spelled(argument: str) -> str:
    """Return an override as Hydra takes it: `+experiment=a` without the plus, `experiment=null` as `~experiment`.

    The folder in `init_from` is quoted, since names of run folders hold `=` and commas.
    """
    key, equals, value = argument.partition("=")
    if key == "init_from" and value not in ("", "null") and value[0] not in "'\"[":
        value = "'" + value.replace("'", "\\'") + "'"
    if key.startswith("+") and key.lstrip("+").partition("@")[0] in groups():
        key = key.lstrip("+")
    return f"~{key.lstrip('~')}" if key.lstrip("~") in NULLABLE and value == "null" else key + equals + value


def bracketed(argument: str, *, sweep: bool = False) -> str:
    """Return `metric=[mig,dci]` for `metric=mig,dci`, which a shell that expands brackets takes without quotes.

    In a sweep, `logger=csv,wandb` stays an axis of two values, but `final`, `final_figures` and `tags` are lists there
    too, since no job of a sweep takes one word for them.
    """
    key, _, value = argument.partition("=")
    if key in (*(() if sweep else LISTS), "final", "final_figures", "tags") and value not in ("all", "null"):
        value = f"[{value}]" if re.fullmatch(r"[\w.-]+(,[\w.-]+)*", value) else value
        return f"{key}={value}"
    return argument


def check_names(arguments: Iterable[str]) -> None:
    """Refuse an option that is a path, or that is none or a list where one is needed, before Hydra composes.

    Hydra would read the file at that path and run the callbacks in it before a job could check its choices. The flags
    --config-dir, --config-path, --config-name and hydra.searchpath are allowed: a user who types them wants the
    configuration of that folder, callbacks included.

    Raises:
        ConfigError: an option is not a name; the message names the group, the value and the options.
    """
    families = {name.casefold() for name in groups()}  # some file systems ignore case
    for argument in arguments:
        key, equals, value = argument.partition("=")
        group = key.strip("+~ \t").partition("@")[0]
        values = {part.strip() for part in value.split(",")}
        path = re.search(r"[/\\$]|\.\.", value)
        none = equals and values & ({""} if group in NULLABLE else {"", "null"}) and group not in LISTS
        several = value.startswith("[") and group not in (*LISTS, "experiment")
        no_name = "[[" in value or (equals and NO_NAME.fullmatch(value) and not (group in NULLABLE and value == "null"))
        if group.partition("/")[0].casefold() in families and (path or none or several or no_name):
            allowed = ", ".join(options(group)) or "settings, hydra.NAME=VALUE"
            raise ConfigError(f"{group} must be one of {allowed}, got {value!r}")


def check_lists(overrides: Iterable[str]) -> None:
    """Check, before Hydra looks for files, that lists such as metric=[...] name options and that no fact is set.

    Raises:
        ConfigError: an option does not exist (the message lists the existing ones), or a fact is set.
    """
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        group, _, setting = key.partition(".")
        fact = next((name for name in setting.split(".") if name in FACTS), None)
        if fact:
            raise ConfigError(f"{key}: {fact} describes an option and cannot be set; leave out {override}")
        if group not in LISTS:
            continue
        names = [] if setting else re.findall(r"[^\s,\[\]]+", value)
        wrong = [name for name in names if name not in options(group)]
        if wrong or not (setting or value):
            raise ConfigError(
                f"{group} must be one or a list of {', '.join(options(group))}, got {', '.join(wrong) or 'nothing'}"
            )
        if setting and "." not in setting and value in ("null", ""):
            raise ConfigError(
                f"{key} must be the value of a setting, got {value or 'nothing'}; {group}=[a,b] chooses several options"
            )


def nodes(group: str, chosen: Mapping[str, Any], names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the options of a group that are `chosen`, or listed in `names`, as resolved nodes by label.

    The label is the option's name and its settings that differ from the YAML: `mig-bins40`.
    """
    found = {}
    files = option_files(group)
    for name in dict.fromkeys([*chosen, *names]):
        if name not in files:
            raise ConfigError(f"{group}.{name} must be one of {', '.join(options(group))}")
        default = _settings(OmegaConf.to_container(OmegaConf.load(files[name])))
        node = _settings(chosen.get(name, default))
        changed = "".join(f"-{key}{value}" for key, value in node.items() if value != default.get(key))
        found[name + re.sub(r"[^\w.-]", "_", changed)] = node
    return found


def check_choices(choices: Mapping[str, str | None]) -> None:
    """Check that every chosen option is in the folder of its group, so that `objective=../x` reads no other file.

    Raises:
        ConfigError: an option is a path; the message names the group and its options.
    """
    for group, option in choices.items():
        group = group.partition("@")[0]
        if group.startswith("hydra/") or option is None:
            continue
        if "/" in option or ".." in option:  # targets of lists, metric=[a,b], are checked later
            raise ConfigError(f"{group} must be one of {', '.join(options(group))}, got {option!r}")


def _references(node: Any) -> set[str]:
    """Return the names in every `${name}` of an unresolved configuration node."""
    if isinstance(node, Mapping):
        return set().union(*(_references(child) for child in node.values()))
    if isinstance(node, list):
        return set().union(*(_references(child) for child in node))
    return set(re.findall(r"\$\{([\w.]+)\}", node)) if isinstance(node, str) else set()


def _node(tree: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def own_keys() -> frozenset[str]:
    """Return the top-level keys of conf/, settings and groups; other keys are variables that a user adds."""
    return frozenset(groups() | {"score", *read_conf("config")})


def read_keys(cfg: DictConfig) -> set[str]:
    """Return the settings of BY_REFERENCE that the chosen options refer to, directly or through each other."""
    tree = OmegaConf.to_container(cfg, resolve=False)
    assert isinstance(tree, dict)
    roots = {key: node for key, node in tree.items() if key not in ("hydra", "schedule", "divergence", *NEUTRAL)}
    read: set[str] = set()
    frontier = _references(roots)
    while frontier:
        read |= frontier
        frontier = set().union(*(_references(_node(tree, name)) for name in frontier)) - read
    return read & set(BY_REFERENCE)


def check_settings(cfg: DictConfig, overrides: Iterable[str], objective: str) -> None:
    """Refuse a setting that has no effect, unless its value is allowed for every objective.

    Raises:
        ConfigError: a setting has no effect; the message names the objectives that read it.
    """
    read = read_keys(cfg)
    referred = {name.partition(".")[0] for name in _references(OmegaConf.to_container(cfg, resolve=False))}
    own = own_keys()
    for name in map(str, cfg):
        if name not in own | referred:
            close = difflib.get_close_matches(name, own, n=1)
            raise ConfigError(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else ""))
    for override in overrides:
        key = override.lstrip("+~").partition("=")[0]
        key = key.partition("@")[2] or key
        setting = next((name for name in BY_REFERENCE if key == name or key.startswith(f"{name}.")), None)
        if setting is None or setting in read:
            continue
        replaced = f"schedule.{key}" in read
        if not replaced and key in NEUTRAL and cfg[key] == NEUTRAL[key]:
            continue
        if replaced:
            raise ConfigError(f"{override} has no effect: schedule.{key}.value replaces it; leave out one of them")
        raise ConfigError(
            f"{override} has no effect: objective={objective} does not read {setting}; it is read by "
            + ", ".join(readers(setting))
            + (f" (only {key}={NEUTRAL[key]} is allowed for every objective)" if key in NEUTRAL else "")
        )


def readers(setting: str) -> list[str]:
    """Return the objectives that read a setting of BY_REFERENCE, as `objective=NAME`."""
    through = {"beta": "schedule.beta", "alpha": "schedule.alpha"}.get(setting, setting)
    found = []
    for name, path in sorted(option_files("objective").items()):
        tree = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        if through in _references(tree):
            found.append(f"objective={name}")
    return found


def resolved(cfg: DictConfig, *, complete: bool = True) -> dict[str, Any]:
    """Return the resolved configuration as plain containers, without FACTS and without settings that nothing reads.

    If it must be `complete`, a value that is missing (???) raises an error.
    """
    read = read_keys(cfg)
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    tree: dict[str, Any] = _settings(OmegaConf.to_container(own, resolve=True, throw_on_missing=complete))
    for name in tree.keys() - (own_keys() - {"divergence", "schedule", "experiment"}):
        tree.pop(name)  # the values are now in the nodes that refer to them
    for name in NEUTRAL:
        if name not in read:
            tree.pop(name)
            if f"schedule.{name}" in read:  # schedule.beta.value=4 is beta=4
                tree[name] = cfg.schedule[name].value
    if (former := tree.pop("init_from", None)) is not None:
        tree["init_from"] = trained_weights(former)
    tree.pop("plugins")  # those that the run uses are in it, however they were allowed
    named = tuple(targets(tree))
    for key, before in LATER.items():
        group, _, name = key.rpartition(".")
        node = tree[group] if group else tree
        if name in node and node[name] == before:
            node.pop(name)
    used = [package for package in packages()[1:] if any(target.startswith(f"{package}.") for target in named)]
    return {**{name: {} for name in LISTS}, **tree, **({"plugins": used} if used else {})}


def trained_weights(run: Any) -> dict[str, str]:
    """Return the folder of a trained run, in `run`, and a hash of its last checkpoint, in `checkpoint`.

    Raises:
        ConfigError: it is not the folder of a trained run.
    """
    if not isinstance(run, str):
        raise ConfigError(f"init_from must be the folder of a trained run, or null, got {run!r}")
    path = Path(run).expanduser()
    try:
        content = (path / "last.ckpt").read_bytes()
    except OSError as error:
        raise ConfigError(
            f"init_from={run} is not the folder of a trained run: its last.ckpt cannot be read ({error.strerror})"
        ) from error
    return {"run": str(path), "checkpoint": hashlib.sha256(content).hexdigest()[:16]}


def devices(trainer: Mapping[str, Any]) -> int:
    """Return the number of devices that a run trains on, or 0 if the machine decides."""
    chosen = trainer["devices"]
    if isinstance(chosen, Sequence) and not isinstance(chosen, str):
        return len(set(chosen)) if all(type(number) is int and number >= 0 for number in chosen) else 0
    return int(chosen) if str(chosen).isdigit() else 0
