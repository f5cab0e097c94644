"""A run's last scores for TensorBoard: a point of each, and its row in HParams."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

COLUMNS = (
    "val/elbo",
    "val/reconstruction",
    "val/kl",
    "val/overlap/mutual_information",
    "val/structure/total_correlation",
    "val/structure/kl_qz_pz",
)
"""Terms that TensorBoard's HParams shows beside the scores."""


def knobs(config: Mapping[str, Any]) -> dict[str, str | int | float]:
    """What tells runs apart, flat: the options by name and the weights."""
    named = {
        group: config[group]["_target_"].rpartition(".")[2]
        for group in ("objective", "dataset", "model", "prior", "posterior", "likelihood", "optimizer")
    }
    weights = {key: value for key, value in config["objective"].items() if isinstance(value, (int, float))}
    for key in ("beta", "alpha", "capacity"):
        schedule = config["objective"].get(key)
        if isinstance(schedule, Mapping):
            weights[key] = schedule["value"]
    sizes = {key: config[key] for key in ("z_dim", "batch_size", "steps", "seed")}
    return named | weights | sizes


def write_scores(
    folder: Path, config: Mapping[str, Any], scores: Mapping[str, float], metrics: Mapping[str, float], step: int
) -> None:
    """New `scores` by tag at `step`, and the row with the columns that `metrics`, all of the run's, have.

    TensorBoard keeps the first row it sees: scores that a finished run is given later are curves but no columns.
    """
    with SummaryWriter(str(folder)) as writer:
        for tag, value in scores.items():
            if not tag.endswith("_se"):
                writer.add_scalar(tag, value, step)
        columns = [
            tag for tag in metrics if tag.startswith("metric/") and tag.count("/") == 2 and not tag.endswith("_se")
        ]
        columns += [tag for tag in metrics if tag in COLUMNS]
        for summary in hparams(knobs(config), dict.fromkeys(columns, 0)):
            writer._get_file_writer().add_summary(summary)
