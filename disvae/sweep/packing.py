"""Which jobs are trained together in one process, and how many at once. Imports no torch."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from disvae.config import ConfigError, conf_dir, devices, identity
from disvae.sweep.entry import Entry, together
from disvae.training.job import Task

MOST = 16
"""Runs in one process where nobody asked for another number."""

PACKS, NOT = "# packs on a CPU", "# not packed on a CPU"
"""What the YAML of a network says whose steps are cheaper together even without a GPU, and that of an objective which
brings a large network of its own."""

OWN = ("seed", "beta", "alpha", "schedule")
"""Keys that may differ within a pack; the objective's own numbers may, too."""


@cache
def packs_on_cpu(model: str, objective: str) -> bool:
    """Whether runs of these options gain by packing on a CPU, as their YAMLs say."""
    return _says("model", model, PACKS) and not _says("objective", objective, NOT)


def _says(group: str, option: str, words: str) -> bool:
    path = conf_dir() / group / f"{option}.yaml"
    return path.is_file() and words in path.read_text(encoding="utf-8")


def most(asked: int | str, gpu: bool, model: str, objective: str) -> int:
    """Runs of one kind that may be trained in one process: as many as `asked`, or as many as gain by it."""
    if isinstance(asked, int):
        return asked
    return MOST if gpu or packs_on_cpu(model, objective) else 1


def kind(task: Task) -> str | None:
    """What runs that can be trained in one process have in common; None for one that has to go alone.

    Coarse: whether the built parts do fit is seen in the process, which trains one after another what does not.
    """
    try:
        trainer = task.config["trainer"]
        if devices(trainer) != 1 or trainer["precision"] == "bf16-mixed" or task.left() != "training":
            return None  # vmap knows nothing of autocast
        step = task.run.place(task.force).status()["step"]
    except ConfigError:  # a damaged file, which the process of this job alone reports
        return None
    alike = {key: node for key, node in identity(task.config).items() if key not in OWN}
    alike["objective"] = {key: _form(node) for key, node in task.config["objective"].items()}
    return json.dumps([alike, task.config["trainer"], step], sort_keys=True)


def _form(node: Any) -> Any:
    """A setting of the objective but for its value: what is zero stays zero, since such terms may be left out."""
    if isinstance(node, Mapping) and str(node.get("_target_")).startswith("disvae.schedule."):
        return "0" if node.get("value") == 0 == node.get("start", 0) else "a number"
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        return "0" if node == 0 else "a number"
    return node


def spread(kinds: Sequence[str | None], limits: Sequence[int], slots: int) -> list[list[int]]:
    """The jobs (by index) of each process: those of one kind together, in even parts, at most their limit in each.

    As few processes as can be, then the largest is cut until the last round of them fills the slots, too.
    """
    by_kind: dict[object, list[int]] = {}
    for number, name in enumerate(kinds):
        by_kind.setdefault(number if name is None else name, []).append(number)
    parts = {name: math.ceil(len(members) / limits[members[0]]) for name, members in by_kind.items()}
    while sum(parts.values()) % slots:
        cut = max(by_kind, key=lambda name: len(by_kind[name]) / parts[name])
        if parts[cut] == len(by_kind[cut]):
            break  # all go alone
        parts[cut] += 1
    made = []
    for one, members in by_kind.items():
        cuts = [len(members) * part // parts[one] for part in range(parts[one] + 1)]
        made += [members[start:end] for start, end in itertools.pairwise(cuts)]
    return sorted(made)


def packs(entries: Sequence[Entry], slots: int) -> list[list[Entry]]:
    """The entries of each process; alone goes one that is tried again, or is the same run as another."""
    kinds = []
    for entry in entries:
        assert entry.task is not None
        alone = entry.most == 1 or entry.attempts or entry.twin
        kinds.append(None if alone else kind(entry.task))
    found = [[entries[i] for i in numbers] for numbers in spread(kinds, [entry.most for entry in entries], slots)]
    for pack in found:
        together(pack)
    return found
