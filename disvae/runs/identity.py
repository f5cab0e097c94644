"""The identity of a run: the part of its configuration that decides its numbers."""

from collections.abc import Mapping
from typing import Any

NOT_IDENTITY = (
    "out",
    "force",
    "preview",
    "log_every",
    "checkpoint_every",
    "experiment",
    "metric",
    "final",
    "figure",
    "final_figures",
    "logger",
    "report",
    "score",
    "optimize",
    "launcher",
    "zip",
    "plugins",
    "tags",
)
"""Top-level keys that do not change what is trained."""

FILE_CHECKSUM = "file_checksum"
"""Key of a run's configuration that holds the checksum of the data at `dataset.path`, if there is a path."""

WHERE_IT_RUNS = ("accelerator", "devices", "strategy", "graph", "profiler", "detect_anomaly")
"""Keys of `trainer` that say where and how a run is trained, and do not change its numbers."""


def _canonical(node: Any) -> Any:
    """Return a node with whole numbers as floats, so that beta=6 and beta=6.0 are one run."""
    if isinstance(node, Mapping):
        return {str(key): _canonical(child) for key, child in node.items()}
    if isinstance(node, list):
        return [_canonical(child) for child in node]
    return float(node) if isinstance(node, int) and not isinstance(node, bool) else node


def identity(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a resolved configuration that decides the numbers of a run, with numbers in one form.

    Data files count by their checksum; the path counts only in runs made before configurations held the checksum.
    """
    kept = {key: value for key, value in tree.items() if key not in NOT_IDENTITY}
    if FILE_CHECKSUM in tree:
        kept["dataset"] = {key: value for key, value in tree["dataset"].items() if key != "path"}
    kept["trainer"] = {key: value for key, value in tree["trainer"].items() if key not in WHERE_IT_RUNS}
    for optional in ("callbacks", "scheduler"):  # runs made before these groups existed keep their hash
        if not kept.get(optional):
            kept.pop(optional, None)
    if former := kept.pop("init_from", None):
        kept["init_from"] = former["checkpoint"]
    return {key: _canonical(value) for key, value in kept.items()}
