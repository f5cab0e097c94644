"""The curves of a run against TensorBoard's own reader, and files that are cut off or damaged."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from disvae.config import ConfigError
from disvae.runs.curves import curves


@pytest.fixture
def file(tmp_path):
    with SummaryWriter(str(tmp_path)) as writer:
        for step in range(0, 500, 50):
            writer.add_scalar("val/kl", 0.1 * step, step)
            writer.add_scalar("verbose/val/kl/03", -step, step)
        writer.add_image("figure/traversal", np.random.default_rng(0).random((1, 40, 40)), 450)
        writer.add_scalar("val/kl", 7.5, 450)  # a resumed run logs a step again
    (path,) = tmp_path.iterdir()
    return path


def steps_of_tensorboard(file):
    events = EventAccumulator(str(file)).Reload()
    tags = events.Tags()["scalars"]
    return {tag.removeprefix("verbose/"): [event.step for event in events.Scalars(tag)] for tag in tags}


def test_curves_are_those_of_tensorboards_reader(file):
    events = EventAccumulator(str(file)).Reload()
    found = curves(file.parent)
    assert found.keys() == {"val/kl", "val/kl/03"}
    for name, tag in (("val/kl", "val/kl"), ("val/kl/03", "verbose/val/kl/03")):
        wanted = {event.step: event.value for event in events.Scalars(tag)}
        assert dict(zip(found[name].steps.tolist(), found[name].values.tolist(), strict=True)) == wanted
    assert found["val/kl"].values[-1] == 7.5


def test_a_file_is_read_up_to_where_it_is_cut_off_or_damaged(file):
    data = file.read_bytes()
    at = data.index(b"verbose/val/kl/03") + 30
    changed = [data[:i] + bytes([data[i] ^ 1]) + data[i + 1 :] for i in range(at, at + 200, 10)]
    for content in (*(data[:length] for length in (0, 5, 30, 300, 700, len(data) - 1)), *changed):
        file.write_bytes(content)
        assert {name: curve.steps.tolist() for name, curve in curves(file.parent).items()} == steps_of_tensorboard(file)


def test_a_file_that_cannot_be_read_is_named(file):
    file.unlink()
    file.mkdir()
    with pytest.raises(ConfigError, match=r"events\.out.* cannot be read .*: delete the file"):
        curves(file.parent)
