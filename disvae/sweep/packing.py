"""Choose which jobs are packed, that is trained together in one process. Imports no torch."""

import itertools
import json
import math
from collections.abc import Sequence
from typing import Any

from disvae.config import ConfigError, facts, is_option
from disvae.runs.identity import identity
from disvae.sweep.entry import Entry, together
from disvae.training.job import Job, packable

MOST_PACKED = 16
"""The largest number of packed runs when launcher.pack is auto."""

OWN = ("seed", "beta", "alpha", "schedule")
"""Keys in which packed runs may differ. The numbers among the objective's own settings may differ, too."""


def packs_on_cpu(model: str, objective: str) -> bool:
    """Return whether runs of these options gain by packing on a CPU, as their YAMLs say.

    A network gains only where its YAML has `packs_on_cpu: true`; an objective loses it by `packs_on_cpu: false`, since
    it brings a large network of its own.
    """
    of_model, of_objective = facts("model", model) or {}, facts("objective", objective) or {}
    return bool(of_model.get("packs_on_cpu", False) and of_objective.get("packs_on_cpu", True))


def most(asked: int | str, gpu: bool, model: str, objective: str) -> int:
    """Return how many runs of one kind may be packed: the number `asked` for, or as many as gain speed."""
    if isinstance(asked, int):
        return asked
    return MOST_PACKED if gpu or packs_on_cpu(model, objective) else 1


def kind(job: Job) -> str | None:
    """Return a text that is equal for runs which may be packed; None for a run that has to be trained alone.

    This is a first, coarse choice. The process compares the built parts, and trains runs that do not fit one by one.
    """
    try:
        if not packable(job.config) or job.remaining() != "training":
            return None
        step = job.run.place(job.force).status()["step"]
    except ConfigError:  # a damaged file: the job is trained alone and reports it
        return None
    alike = {key: node for key, node in identity(job.config).items() if key not in OWN}
    alike["objective"] = {key: _form(node) for key, node in job.config["objective"].items()}
    return json.dumps([alike, job.config["trainer"], job.config["log_every"], step], sort_keys=True)


def _form(node: Any) -> Any:
    """Return the form of an objective's setting without its value; zero stays zero, since its term may be left out."""
    if is_option(node, "schedule"):
        return "0" if node.get("value") == 0 == node.get("start", 0) else "a number"
    if isinstance(node, (int, float)) and not isinstance(node, bool):
        return "0" if node == 0 else "a number"
    return node


def even_parts(kinds: Sequence[str | None], limits: Sequence[int], slots: int) -> list[list[int]]:
    """Return the numbers of the jobs of each process: jobs of one kind in even parts, none above its limit.

    It makes as few processes as possible, then divides the largest until the last round fills all slots.
    """
    by_kind: dict[object, list[int]] = {}
    for number, name in enumerate(kinds):
        by_kind.setdefault(number if name is None else name, []).append(number)
    parts = {name: math.ceil(len(members) / limits[members[0]]) for name, members in by_kind.items()}
    while sum(parts.values()) % slots:
        cut = max(by_kind, key=lambda name: len(by_kind[name]) / parts[name])
        if parts[cut] == len(by_kind[cut]):
            break  # every job is alone
        parts[cut] += 1
    made = []
    for one, members in by_kind.items():
        cuts = [len(members) * part // parts[one] for part in range(parts[one] + 1)]
        made += [members[start:end] for start, end in itertools.pairwise(cuts)]
    return sorted(made)


def make_packs(entries: Sequence[Entry], slots: int) -> list[list[Entry]]:
    """Return the entries of each process. A job that is tried again, or that repeats another entry, has its own."""
    kinds = []
    for entry in entries:
        assert entry.job is not None
        alone = entry.most == 1 or entry.attempts or entry.twin
        kinds.append(None if alone else kind(entry.job))
    found = [[entries[i] for i in numbers] for numbers in even_parts(kinds, [entry.most for entry in entries], slots)]
    for pack in found:
        together(pack)
    return found
