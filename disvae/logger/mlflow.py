"""Curves of a run for an MLflow server."""

from pathlib import Path

from pytorch_lightning.loggers import Logger, MLFlowLogger


def mlflow(folder: Path, step: int, experiment: str, tracking_uri: str | None) -> Logger:
    """Return Lightning's logger for MLflow; without `tracking_uri` MLflow's own default holds."""
    return MLFlowLogger(experiment_name=experiment, run_name=folder.name, tracking_uri=tracking_uri)
