"""What lets TensorBoard compare runs: each one's knobs, its final scores, and which curves belong together.

As long as no run declares an experiment, TensorBoard's HParams shows the knobs and the last scalars of all runs, knobs
that differ first; a declaration would stand for all runs, and be the first it meets. So none is written. Columns go by
name, five to begin with: the scores at a run's end are `final/*`, before the curves; a run not at its end has none.
"""

import io
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from disvae.config import nodes
from disvae.runs.settings import flat_settings
from disvae.runs.tags import without_labels

TERM_CHARTS = {
    "ELBO and its terms": {
        "ELBO, validation": ["val/elbo"],
        "Reconstruction, validation": ["val/reconstruction"],
        "KL, validation": ["val/kl"],
        "ELBO, training": ["train/elbo"],
        "Reconstruction, training": ["train/reconstruction"],
        "KL, training": ["train/kl"],
    },
    "Overlap and structure": {
        "Overlap: mutual information of x and z": ["val/overlap/mutual_information"],
        "Structure: KL(q(z) ‖ p(z))": ["val/structure/kl_qz_pz"],
        "Structure: total correlation": ["val/structure/total_correlation"],
    },
}
"""Charts by category, as the regular expressions of their tags."""


FIGURES = "figure"
"""The first part of the pictures' tags."""

ASPECTS = ("overlap/", "structure/")
"""Beginnings of the terms that are estimated for every objective, beside the ELBO and its parts."""


def later_file(folder: Path) -> None:
    """Wait until a file of events that is begun in `folder` comes after those there, which TensorBoard reads by name.

    The name is of the second, then of the process, then of a count without leading zeros.
    """
    while any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.02)


def begin(writer: SummaryWriter, config: Mapping[str, Any]) -> None:
    """The run's knobs and the layout of its curves; the same again where a run is continued."""
    _, start, _ = hparams(flat_settings(config), {})
    writer._get_file_writer().add_summary(start)
    scores = {label: [f"metric/{re.escape(label)}/[^/]+"] for label in nodes("metric", config["metric"], [])}
    layout = TERM_CHARTS | ({"Scores": scores} if scores else {})
    writer.add_custom_scalars(
        {
            category: {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in charts.items()}
            for category, charts in layout.items()
        }
    )


def picture_summary(label: str, content: bytes) -> Summary:
    """Return TensorBoard's summary of a picture file (PNG or GIF), under the tag figure/LABEL."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        shown = Summary.Image(height=image.height, width=image.width, colorspace=3, encoded_image_string=content)
    return Summary(value=[Summary.Value(tag=f"{FIGURES}/{label}", image=shown)])


def final(metrics: Mapping[str, float]) -> dict[str, float]:
    """The scores and terms of `metrics`: `metric/mig/histogram` as `final/mig/histogram`, `val/elbo` as `final/elbo`.

    Scores of the codes alone come last by name, as `final/without_labels/sparsity/hoyer`. Left out are errors, details
    by factor or latent, and the loss and terms that an objective has of its own.
    """
    found = {}
    for tag, value in metrics.items():
        stage, _, name = tag.partition("/")
        is_score = stage.startswith("metric") and name.count("/") == 1
        is_term = stage == "val" and (name in ("elbo", "reconstruction", "kl") or name.startswith(ASPECTS))
        if (is_score or is_term or tag == "held_out/elbo") and not tag.endswith("_se"):
            above = "final/without_labels" if is_score and without_labels(tag) else "final"
            found[f"{above}/{name if stage in ('metric', 'val') else tag}"] = value
    return found


def write_scores(folder: Path, scores: Mapping[str, float], metrics: Mapping[str, float], step: int) -> None:
    """New `scores` by tag at `step`, and all `metrics` of the run as its final ones."""
    _, _, end = hparams({}, {})
    with SummaryWriter(str(folder)) as writer:
        for tag, value in {**scores, **final(metrics)}.items():
            if not tag.endswith("_se"):
                writer.add_scalar(tag, value, step)
        writer._get_file_writer().add_summary(end)
