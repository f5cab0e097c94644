"""A run is scored on the images that it was trained on, wherever their file is."""

import shutil

import h5py
import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.evaluate import evaluate
from disvae.evaluation.run_encodings import dataset_of
from disvae.explore import explore
from disvae.runs.folder import Run
from disvae.system.instantiate import make

PARTS = ("model", "prior", "posterior", "likelihood", "objective", "optimizer")


def stored(folder, node, checksum) -> Run:
    """Return a run folder with a dataset and the checksum of its images."""
    run = Run(folder)
    folder.mkdir()
    run.create(
        {
            **{part: {"_target_": "x.y.Z"} for part in PARTS},
            **dict.fromkeys(("seed", "steps", "z_dim", "batch_size", "eval_every"), 1),
            **{"dataset": node, "trainer": {}, "split": {}, "score": {}},
        },
        {"sessions": [{"data_checksum": checksum}]},
    )
    run.last.touch()
    return run


@pytest.fixture
def file(tmp_path):
    """Return the path of six images with the layout of dSprites."""
    with h5py.File(tmp_path / "a.h5", "w") as content:
        content["imgs"] = np.zeros((6, 64, 64), np.uint8)
        content["latents/classes"] = np.eye(6, dtype=np.int64)
    return tmp_path / "a.h5"


def test_moved_data_are_taken_from_their_new_place_and_other_data_are_refused(file, tmp_path, capsys):
    node = {"_target_": "disvae.dataset.dsprites.DSprites", "path": str(file)}
    checksum = make(node, "dataset").checksum
    run = stored(tmp_path / "run", node, checksum)
    shutil.copy(file, tmp_path / "copy.h5")
    assert dataset_of(run).checksum == dataset_of(run, str(tmp_path / "copy.h5")).checksum == checksum
    with h5py.File(file, "a") as content:
        content["imgs"][3] = 1
    refused = rf"the data at {file} are not those that {run.path} was trained on; type their place: dataset\.path=PATH"
    with pytest.raises(ConfigError, match=refused):
        dataset_of(run)
    for command in (evaluate, explore):
        with pytest.raises(ConfigError, match=refused):
            command([str(run.path), f"dataset.path={file}"])
    file.unlink()
    with pytest.raises(ConfigError, match=r"if the data of .*run have moved, type dataset\.path=PATH"):
        dataset_of(run)


def test_drawn_data_have_no_place_and_warn_if_they_are_drawn_in_another_way(tmp_path, caplog):
    run = stored(tmp_path / "run", {"_target_": "disvae.dataset.clusters.Clusters", "points": 5}, "sha256:other")
    with pytest.raises(ConfigError, match=r"dataset\.path=x has no effect: the images of .*run are drawn"):
        dataset_of(run, "x")
    assert len(dataset_of(run).images) == 20
    assert "trained on images that differ from those that are drawn" in caplog.text
