"""What MLflow holds of a run."""

import pytest

from disvae.logger.mlflow import mlflow

PACKAGE = pytest.importorskip("mlflow")


def test_a_resumed_run_goes_on_in_its_run_of_mlflow_and_a_new_one_does_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: f"sqlite:///{tmp_path}/mlflow.db")
    for step, beta in ((0, 4), (100, 4), (0, 6)):
        logger = mlflow(tmp_path / f"beta={beta}-{beta}123abcd", step, "disvae", None)
        logger.log_metrics({"val/elbo": -step}, step)
        logger.finalize("success")
    client = PACKAGE.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    experiment = client.get_experiment_by_name("disvae")
    runs = {run.data.tags["disvae_run"]: run for run in client.search_runs([experiment.experiment_id])}
    points = {mark: client.get_metric_history(run.info.run_id, "val/elbo") for mark, run in runs.items()}
    assert {mark: [point.step for point in found] for mark, found in points.items()} == {
        "4123abcd": [0, 100],
        "6123abcd": [0],
    }
