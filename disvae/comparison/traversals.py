"""Traversals of the best and the median run of a comparison. Imports torch, so the report imports this module last."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from disvae.comparison.groups import Comparison
from disvae.comparison.row import Row
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.encoding import encode, encoding_of
from disvae.evaluation.run_encodings import dataset_of, restored
from disvae.figure.traversal import traversal
from disvae.pictures.figure_data import FigureData
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.runs.tags import better, short

TRAVERSED_IMAGES = 256
"""Number of images, the same for every run: the first is traversed, all of them decide which latents are active."""


@dataclass(frozen=True)
class Shown:
    """The traversal of a run, or the reason why there is none."""

    title: str
    row: Row | None
    figure: Figure | None
    reason: str = ""


def best_and_median(comparison: Comparison, tag: str) -> list[tuple[str, Row]]:
    """Return the best and the median run by a tag (the lower of two middle ones), or the only run there is."""
    rows = [
        row for row in comparison.finished if math.isfinite(row.metrics.get(tag, math.nan)) and row.path is not None
    ]
    rows.sort(key=lambda row: (better(tag) or 1) * row.metrics[tag])
    if len(rows) < 2:
        return [("only run", row) for row in rows]
    named = [("best run", rows[-1]), ("median run", rows[(len(rows) - 1) // 2])]
    return named if len(rows) > 2 else [("best run", rows[1]), ("other run", rows[0])]


def traversals(comparison: Comparison, tag: str) -> list[Shown]:
    """Return traversals of the best and the median run by a tag, all around one image of their dataset."""
    shown: list[Shown] = []
    named = best_and_median(comparison, tag)
    try:
        dataset, rows = _images(named)
        for what, row in named:
            assert row.path is not None
            run = Run(row.path)
            vae = restored(run.config(), load(run.last), dataset.x_shape).eval()
            title = f"{what} by {short(tag)} ({row.metrics[tag]:.4g}): {row.name}"
            view = FigureData(encoding_of(vae, encode(vae, dataset.images, rows), dataset, rows))
            figure = traversal(vae, view, image=int(rows[0]))
            figure.suptitle(f"{what} by {short(tag)}, {row.metrics[tag]:.4g}\n{figure.get_suptitle()}", fontsize=10)
            shown.append(Shown(title, row, figure))
    except (ConfigError, ValueError) as error:
        shown.append(Shown("", None, None, str(error)))
    return shown


def _images(named: Sequence[tuple[str, Row]]) -> tuple[Dataset, torch.Tensor]:
    """Return the dataset of the runs, and the numbers of some of its images."""
    path = named[0][1].path
    assert path is not None
    dataset = dataset_of(Run(path))
    if min(dataset.x_shape[1:]) < 2:
        raise ConfigError("no traversals: the data are points, not images")
    order = np.random.default_rng(0).permutation(len(dataset.images))[:TRAVERSED_IMAGES]
    return dataset, torch.from_numpy(order)
