"""TensorBoard data that make runs comparable: hyperparameters, final scores, and a layout of the curves.

If no run declares an experiment, the HParams page of TensorBoard shows the hyperparameters and last scalars of all
runs, and those that differ come first. A declaration in one run would be used for all runs, so none is written. The
page sorts columns by name and ticks the first five, which are headline scores, `metric/*`.
"""

import io
import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from disvae.config import nodes
from disvae.runs.atomic import write_atomically
from disvae.runs.curves import curves
from disvae.runs.settings import flat_settings
from disvae.runs.tags import FIGURES, logged, measured

TERM_CHARTS = {
    "ELBO and its terms": {
        "ELBO, validation": ["val/elbo"],
        "Reconstruction, validation": ["val/reconstruction"],
        "KL, validation": ["val/kl"],
        "ELBO, training": ["while_training/elbo"],
        "Reconstruction, training": ["while_training/reconstruction"],
        "KL, training": ["while_training/kl"],
    },
    "Overlap and structure": {
        "Overlap: mutual information of x and z": ["val/overlap/mutual_information"],
        "Structure: KL(q(z) ‖ p(z))": ["val/structure/kl_qz_pz"],
        "Structure: total correlation": ["val/structure/total_correlation"],
    },
}
"""Tags of the curves in each chart, by category and title of the chart."""


def later_file(folder: Path) -> None:
    """See to it that the name of a new event file in `folder` sorts after the existing ones.

    TensorBoard reads event files in the order of their names: second, process, and a count without leading zeros. So
    two files of one second may sort in the wrong order, and this waits for the next second. If the clock has gone back,
    the existing files get earlier seconds in their order.
    """
    now = int(time.time())
    files = sorted(folder.glob("events.out.tfevents.*"))
    if files and _second(files[-1]) > now + 1:
        for i, path in enumerate(files):
            path.rename(path.with_name(re.sub(r"\d+", f"{now - len(files) + i:010d}", path.name, count=1)))
        return
    while files and _second(files[-1]) >= int(time.time()):
        time.sleep(0.02)


def _second(path: Path) -> int:
    found = re.match(r"events\.out\.tfevents\.(\d+)", path.name)
    return int(found[1]) if found else 0


def begin(writer: SummaryWriter, config: Mapping[str, Any]) -> None:
    """Write the hyperparameters of a run and the layout of its curves; a resumed run writes them again."""
    _, start, _ = hparams(flat_settings(config), {})
    writer._get_file_writer().add_summary(start)
    scores = {label: [f"(verbose/)?metric/{re.escape(label)}/[^/]+"] for label in nodes("metric", config["metric"], [])}
    layout = TERM_CHARTS | ({"Scores": scores} if scores else {})
    writer.add_custom_scalars(
        {
            category: {title: ["Multiline", [f"^{tag}$" for tag in tags]] for title, tags in charts.items()}
            for category, charts in layout.items()
        }
    )


def picture_summary(label: str, content: bytes) -> Summary:
    """Return the TensorBoard summary of a picture (PNG or GIF) with the tag FIGURES/LABEL."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        shown = Summary.Image(height=image.height, width=image.width, colorspace=3, encoded_image_string=content)
    return Summary(value=[Summary.Value(tag=f"{FIGURES}/{label}", image=shown)])


def at_end(metrics: Mapping[str, float]) -> dict[str, float]:
    """Return what loggers get of a trained run after its validations: scores and held-out terms, no standard errors."""
    of_end = {tag: value for tag, value in metrics.items() if tag.startswith(("metric", "held_out/"))}
    return {tag: value for tag, value in of_end.items() if not tag.endswith("_se")}


def write_scores(folder: Path, metrics: Mapping[str, float], step: int) -> None:
    """Write the scores and held-out terms among all `metrics` of the run at `step`, in place of earlier ones."""
    _, _, end = hparams({}, {})
    values = (Summary.Value(tag=tag, simple_value=value) for tag, value in logged(at_end(metrics)).items())
    replace_events(folder, ".scores", [*(Summary(value=[value]) for value in values), end], step)


def replace_events(folder: Path, suffix: str, summaries: Sequence[Summary], step: int) -> None:
    """Write events at `step` in place of earlier ones with the same tags and step, because TensorBoard shows both.

    All events of one `suffix` are in one file; the former files are removed when a new one is complete.
    """
    from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader
    from tensorboard.summary.writer.record_writer import RecordWriter

    former = sorted(folder.glob(f"events.out.tfevents.*{suffix}"))
    later_file(folder)
    started = time.time()
    events = {
        (measured(summary.value[0].tag), step): Event(wall_time=started, step=step, summary=summary)
        for summary in summaries
    }
    earlier = {}
    for path in former:
        for event in LegacyEventFileLoader(str(path)).Load():
            if event.HasField("summary"):
                earlier[measured(event.summary.value[0].tag), event.step] = event
    once = "final/"  # earlier versions wrote the last values a second time, with these tags
    kept = [event for (name, at), event in earlier.items() if (name, at) not in events and not name.startswith(once)]
    file = io.BytesIO()
    for event in [Event(wall_time=started, file_version="brain.Event:2"), *kept, *events.values()]:
        RecordWriter(file).write(event.SerializeToString())
    name = f"events.out.tfevents.{int(started):010d}.{socket.gethostname()}.{os.getpid()}.0{suffix}"
    write_atomically(folder / name, file.getvalue())
    for path in former:
        path.unlink()


def copy_curves(source: Path, folder: Path, last: int) -> None:
    """Write the curves of a trained run to another folder, without the scores and terms after its last step."""
    with SummaryWriter(str(folder)) as writer:
        for tag, curve in curves(source).items():
            for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True):
                if tag.startswith(("train/", "val/")) or (tag.startswith("metric") and step < last):
                    for shown in logged({tag: value}):
                        writer.add_scalar(shown, value, step)
