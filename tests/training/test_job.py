"""What remains to be done for a run, and which of its results a job returns."""

import pytest

from disvae.config import ConfigError
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
