"""Curves of a run for an MLflow server."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger

TAG = "disvae_run"
"""The tag of a run in MLflow that holds the hash of the run's folder."""


def mlflow(folder: Path, step: int, experiment: str, tracking_uri: str | None) -> Logger:
    """Return Lightning's logger for MLflow; a resumed run is the same run there, by its folder's hash.

    Without `tracking_uri` MLflow's own default holds, which is not Lightning's: a folder that MLflow refuses to write.
    """
    from mlflow import MlflowClient, get_tracking_uri

    uri, mark = tracking_uri or get_tracking_uri(), folder.name[-8:]
    client = MlflowClient(uri)
    there = client.get_experiment_by_name(experiment) if step else None
    former = client.search_runs([there.experiment_id], f"tags.{TAG} = '{mark}'", max_results=1) if there else []
    return MLFlowLogger(
        experiment_name=experiment,
        run_name=folder.name,
        tracking_uri=uri,
        tags={TAG: mark},
        run_id=former[0].info.run_id if former else None,
    )
