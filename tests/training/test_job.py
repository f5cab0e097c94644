"""What remains to be done for a run, by which data it is known, and which of its results a job returns."""

import shutil

import h5py
import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.runs.folder import digest
from disvae.runs.identity import FILE_CHECKSUM
from disvae.system.instantiate import make
from disvae.training.job import Job


@pytest.fixture
def job(composed, tiny, tmp_path):
    """Return a function that makes the job of a command line whose runs go to `tmp_path`."""

    def make(*overrides: str) -> Job:
        cfg = composed(*tiny, f"out={tmp_path}", *overrides)
        return Job.of(cfg, overrides, {"objective": "beta_vae", "dataset": "clusters"})

    return make


def finish(job: Job, **metrics: float) -> None:
    job.run.path.mkdir(parents=True)
    job.run.save_metrics({tag.replace("__", "/"): value for tag, value in metrics.items()})
    job.run.mark("finished", 20)


def test_the_result_is_the_one_that_optimize_names(job):
    finish(job(), val__elbo=-2.5, metric__mig__histogram=0.25)
    assert job().result() == -2.5
    assert job("optimize=metric/mig/histogram", "final=[mig]").result() == 0.25
    with pytest.raises(ConfigError, match=r"optimize=val/elbow is not among the results of .*; there are val/elbo"):
        job("optimize=val/elbow").result()


def test_training_remains_for_a_run_that_is_not_finished_or_is_forced(job):
    assert job().remaining() == "training"
    job().run.path.mkdir(parents=True)
    job().run.mark("failed", 3)
    assert job().remaining() == "training"
    job().run.mark("finished", 20)
    assert job().remaining() == "training"  # without its numbers it is not finished
    job().run.save_metrics({"val/elbo": -2.5})
    assert job().remaining() == ""
    assert job("force=true").remaining() == "training"


def test_force_is_dropped_where_there_is_nothing_to_repeat(job):
    assert not job("force=true").claimed().force
    assert not job("force=true").claimed().force, "an empty folder holds nothing"
    finish(job("seed=1"), val__elbo=-2.5)
    assert job("seed=1", "force=true").claimed().force


def test_scores_remain_for_a_finished_run_that_lacks_a_metric_somebody_typed(job):
    finish(job(), val__elbo=-2.5)
    assert job("metric=[sparsity]").remaining() == "scores"
    assert job("final=[sparsity]").remaining() == ""  # which python -m disvae.evaluate does
    entry = {"scores": {}, "chance": {}, "failed": {}, "settings": {}, "protocol": {}}
    job().run.save_scores({"metric": {"sparsity": entry}})
    assert job("metric=[sparsity]").remaining() == ""


def write_sprites(path, value: int) -> None:
    """Write six images with the layout of dSprites."""
    with h5py.File(path, "w") as file:
        file["imgs"] = np.full((6, 64, 64), value, np.uint8)
        file["latents/classes"] = np.eye(6, dtype=np.int64)


@pytest.fixture
def of_file(composed, tmp_path):
    """Return a function that makes the job of a data file of sprites."""

    def make(path) -> Job:
        cfg = composed("dataset=dsprites", f"dataset.path={path}", f"out={tmp_path / 'out'}")
        return Job.of(cfg, (), {"objective": "beta_vae", "dataset": "dsprites"})

    return make


def test_a_run_is_known_by_its_data_wherever_they_are(of_file, tmp_path, monkeypatch):
    write_sprites(tmp_path / "a.h5", 0)
    shutil.copy(tmp_path / "a.h5", tmp_path / "copy.h5")
    monkeypatch.chdir(tmp_path)
    finish(first := of_file(tmp_path / "a.h5"), val__elbo=-2.5)
    assert of_file("a.h5").run == of_file("copy.h5").run == first.run
    assert of_file("copy.h5").remaining() == ""
    write_sprites(tmp_path / "a.h5", 1)
    assert of_file("a.h5").run != first.run
    assert of_file("a.h5").remaining() == "training"
    with pytest.raises(ConfigError, match=r"^dataset\.path=gone\.h5 cannot be read \(.*\); type the path of your data"):
        of_file("gone.h5")


def test_a_run_that_was_known_by_its_path_is_found_if_its_data_are_there(of_file, tmp_path):
    write_sprites(tmp_path / "a.h5", 0)
    new = of_file(tmp_path / "a.h5")
    legacy = {key: value for key, value in new.config.items() if key != FILE_CHECKSUM}
    folder = new.run.path.with_name(f"defaults-{digest(legacy)}")
    folder.mkdir(parents=True)
    assert of_file(tmp_path / "a.h5").config == legacy, "it was stopped before it read its data"
    for checksum, path in ((new.config[FILE_CHECKSUM], folder), (content_of(legacy), folder), ("other", new.run.path)):
        (folder / "provenance.json").write_text(f'{{"sessions": [{{"data_checksum": "{checksum}"}}]}}')
        assert of_file(tmp_path / "a.h5").run.path == path


def content_of(config) -> str:
    return make(config["dataset"], "dataset").checksum


def test_drawn_data_have_no_checksum_of_a_file(job):
    assert FILE_CHECKSUM not in job().config
