"""What is left of a run, and which of its results it returns."""

import pytest

from disvae.config import ConfigError
from disvae.training.job import Task


@pytest.fixture
def task(composed, tiny, tmp_path):
    """The task of a command line whose runs go to `tmp_path`."""

    def make(*overrides: str) -> Task:
        cfg = composed(*tiny, f"out={tmp_path}", *overrides)
        return Task.of(cfg, overrides, {"objective": "beta_vae", "dataset": "clusters"})

    return make


def finish(task: Task, **metrics: float) -> None:
    task.run.path.mkdir(parents=True)
    task.run.save_metrics({tag.replace("__", "/"): value for tag, value in metrics.items()})
    task.run.mark("finished", 20)


def test_the_result_is_the_one_that_optimize_names(task):
    finish(task(), val__elbo=-2.5, metric__mig__histogram=0.25)
    assert task().result() == -2.5
    assert task("optimize=metric/mig/histogram", "final=[mig]").result() == 0.25
    with pytest.raises(ConfigError, match=r"optimize=val/elbow is not among the results of .*; there are val/elbo"):
        task("optimize=val/elbow").result()


def test_training_is_left_of_a_run_that_is_not_finished_or_is_forced(task):
    assert task().left() == "training"
    task().run.path.mkdir(parents=True)
    task().run.mark("failed", 3)
    assert task().left() == "training"
    task().run.mark("finished", 20)
    assert task().left() == "training"  # without its numbers it is not finished
    task().run.save_metrics({"val/elbo": -2.5})
    assert task().left() == ""
    assert task("force=true").left() == "training"


def test_force_is_dropped_where_there_is_nothing_to_repeat(task):
    assert not task("force=true").claimed().force
    assert not task("force=true").claimed().force, "an empty folder holds nothing"
    finish(task("seed=1"), val__elbo=-2.5)
    assert task("seed=1", "force=true").claimed().force


def test_scores_are_left_of_a_finished_run_that_lacks_a_metric_somebody_typed(task):
    finish(task(), val__elbo=-2.5)
    assert task("metric=[sparsity]").left() == "scores"
    assert task("final=[sparsity]").left() == ""  # which python -m disvae.evaluate does
    entry = {"scores": {}, "protocol": {}}
    task().run.save_scores({"metric": {"sparsity": entry}})
    assert task("metric=[sparsity]").left() == ""
