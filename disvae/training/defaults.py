"""What a run changes from the defaults of its dataset. Imports no torch."""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from disvae.config import BY_REFERENCE, NEUTRAL, ConfigError, read_keys, readers, resolved
from disvae.runs.settings import HOW, flat_settings
from disvae.system.compose import composing

NAMED_FIRST = ("objective", "beta", "alpha", "seed", "init_from")
"""Settings that a name begins with, since it may be cut."""

SETS = ("experiment", "hparams_search", "trainer")
"""Groups that are left out of a name, which has the settings that they change."""

NOT_COMPARED = ("hydra.overrides", "hydra.runtime", "hydra.job")
"""Nodes that say how a configuration was composed."""


@functools.cache
def usual(*overrides: str) -> DictConfig:
    """Return the configuration of disvae with `overrides` and nothing else; files of the user are found."""
    if GlobalHydra.instance().is_initialized():
        return compose("config", list(overrides), return_hydra_config=True)
    with composing():
        return compose("config", list(overrides), return_hydra_config=True)


def _folders(cfg: DictConfig) -> str:
    """Return the override with the user's own folders of options."""
    hydra: Any = cfg.hydra if "hydra" in cfg else HydraConfig.get() if HydraConfig.initialized() else None
    return f"hydra.searchpath={json.dumps(list(hydra.searchpath) if hydra else [])}"


def changes(cfg: DictConfig, choices: Mapping[str, Any], varied: Sequence[str] = ()) -> list[str]:
    """Return what a composed configuration changes from the defaults: `["objective=beta_tc", "beta=6"]`.

    It does not matter whether a setting was typed or comes from an experiment or another file. `choices` are the
    options by group, as Hydra reports them. The settings that a sweep has `varied` come first, defaults included.
    """
    config = resolved(cfg)
    dataset = (_folders(cfg), f"dataset={choices['dataset']}")
    before = {**usual(*dataset).hydra.runtime.choices, "callbacks": "[]", **{name: choices.get(name) for name in SETS}}
    after = {**choices, "callbacks": str(list(config["callbacks"]))}
    chosen = {
        group: option
        for group, option in after.items()
        if not group.startswith("hydra/") and option not in (None, before.get(group))
    }
    same_options = usual(*dataset, *(f"{group}={option}" for group, option in chosen.items()))
    defaults, settings = (flat_settings(each) for each in (resolved(same_options, complete=False), config))
    names = {group.rpartition("@")[2]: option for group, option in chosen.items()}
    changed = {name: option for name, option in names.items() if name in settings or name not in BY_REFERENCE}
    changed |= {
        name: value
        for name, value in settings.items()
        if (name not in defaults or defaults[name] != value)
        and not (_follows(name, cfg) and _follows(name, same_options))
    }
    values = {**names, **settings, **changed}
    order = dict.fromkeys(name for name in (*varied, *NAMED_FIRST) if name in (values if name in varied else changed))
    order |= dict.fromkeys(sorted(changed, key=lambda name: name.startswith(HOW)))
    return [f"{name}={_text(values[name])}" for name in order]


def _follows(name: str, cfg: DictConfig) -> bool:
    """Return whether a setting takes its value from another one, as the steps of a schedule do."""
    above, _, key = name.rpartition(".")
    node = OmegaConf.select(cfg, above) if above else None
    return isinstance(node, DictConfig) and key in node and OmegaConf.is_interpolation(node, key)


def _text(value: Any) -> str:
    """Return a value as it is typed, without brackets: 6 for 6.0, and true for True."""
    text = re.sub(r"\.0\b|[\[\]' ]", "", str(value))
    return {"None": "null", "True": "true", "False": "false"}.get(text, text)


def check_experiment(cfg: DictConfig, choices: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse an experiment that has no effect, or that sets a weight that nothing reads.

    Raises:
        ConfigError: naming the line that the file lacks, or the setting that nothing reads.
    """
    typed = ",".join(each.partition("=")[2] for each in overrides if each.lstrip("+").startswith("experiment=["))
    names = [choices["experiment"]] if choices.get("experiment") else re.findall(r"[^\s,\[\]'\"]+", typed)
    experiment, folders = ",".join(names), _folders(cfg)
    # A value that is usual for sprites may be a change for clusters; the experiment may choose the dataset itself.
    bases = [(folders,), (folders, f"dataset={choices['dataset']}")]
    for name in names:
        if "experiment" in usual(folders, f"experiment={name}"):
            raise ConfigError(
                f"experiment={name} has no effect: the first line of its file must be `# @package _global_`, "
                "with no byte order mark before it"
            )
        if all(_compared(usual(*base, f"experiment={name}")) == _compared(usual(*base)) for base in bases):
            raise ConfigError(
                f"experiment={name} changes nothing: its file lacks a line with a setting that it changes, "
                "such as `beta: 2`"
            )
    if "experiment" in cfg:
        raise ConfigError("experiment has no settings: type experiment=NAME, and the settings without `experiment.`")
    for name in NEUTRAL if experiment else ():
        ineffective = cfg[name] not in (NEUTRAL[name], usual(*bases[1])[name]) and name not in read_keys(cfg)
        if ineffective and f"schedule.{name}" not in read_keys(cfg):
            raise ConfigError(
                f"experiment={experiment} sets {name}={cfg[name]}, which has no effect: "
                f"objective={choices['objective']} does not read {name}; it is read by {', '.join(readers(name))}"
            )


def _compared(cfg: DictConfig) -> Any:
    tree: Any = OmegaConf.to_container(cfg, resolve=False)
    for node in NOT_COMPARED:
        tree["hydra"].pop(node.partition(".")[2])
    return tree
