"""What a run is made of, built from its configuration and checked before the run has a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from disvae.build import Built, build
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.evaluation.run_encodings import check, device_of
from disvae.evaluation.run_scores import Chosen, choose_metrics
from disvae.objective import Objective
from disvae.pictures.run_figures import Pictures, choose_figures
from disvae.runs.contents import CONFIG, mismatch
from disvae.system.instantiate import check_node, make
from disvae.training.build_module import build_module
from disvae.training.checkpoint_io import AtomicCheckpointIO
from disvae.training.job import Job
from disvae.training.module import VAEModule
from disvae.training.starts import load_weights
from disvae.training.trainer import trainer_of


@dataclass(frozen=True)
class Parts:
    """The parts of a run, and the metrics and figures during training and after it."""

    device: torch.device
    built: Built
    module: VAEModule
    during: Chosen
    at_end: Chosen
    during_figures: Pictures
    at_end_figures: Pictures


def _at_end(chosen: Mapping[str, Any], final: Any, usual: bool) -> Mapping[str, Any]:
    """Return the options of validations that count after the last step, too.

    Those that were typed count in any case, the usual ones only if `final` names them or is `all`.
    """
    if usual and final != "all":
        return {name: node for name, node in chosen.items() if name in final}
    return chosen


def _check_monitors(config: Mapping[str, Any], objective: Objective) -> None:
    """Raise ConfigError if a callback or the scheduler watches an ELBO that the objective does not make."""
    nodes = {f"callbacks.{name}": node for name, node in config["callbacks"].items()}
    for key, node in {**nodes, "scheduler": config.get("scheduler") or {}}.items():
        if node.get("monitor") == "val/elbo" and objective.without_elbo:
            name = type(objective).__module__.rpartition(".")[2]
            raise ConfigError(
                f"{key}.monitor=val/elbo: objective={name} has no ELBO; type {key}.monitor=val/{objective.best}"
            )


def prepare(job: Job, dataset: Dataset | None = None) -> Parts:
    """Build and check all that the job's configuration names, around `dataset` if it is given; write nothing.

    What takes no time comes first, so that a wrong setting is known before data are drawn or downloaded.

    Raises:
        ConfigError: a setting is wrong, or the parts cannot go together; the message names the key.
    """
    config, device = job.config, device_of(job.config)
    usual_metrics, usual_figures = not job.metrics_asked, not job.figures_asked
    during = choose_metrics(config["metric"], [], by_default=usual_metrics).of_one()
    metrics = _at_end(config["metric"], config["final"], usual_metrics)
    at_end = choose_metrics(metrics, config["final"], by_default=usual_metrics).of_one()
    during_figures = choose_figures(config["figure"], [], by_default=usual_figures)
    figures = _at_end(config["figure"], config["final_figures"], usual_figures)
    at_end_figures = choose_figures(figures, config["final_figures"], by_default=usual_figures)
    make(config["objective"], "objective")
    check_node(config["dataset"], "dataset")
    check_node(config["optimizer"], "optimizer", "params")
    for name, node in config["logger"].items():
        check_node(node, f"logger.{name}", "folder", "step")
    callbacks = [make(node, f"callbacks.{name}") for name, node in config["callbacks"].items()]
    trainer_of(Path(), config, callbacks, [], AtomicCheckpointIO())
    if wrong := mismatch(config, CONFIG):  # no reader of the run's config.yaml would take it
        raise ConfigError(wrong)
    built = build(config, dataset)
    _check_monitors(config, built.objective)
    if at_end.metrics:
        check(built, config["score"])
    module = build_module(config, built, device)
    former = config.get("init_from")
    if former and not job.run.place(job.force).last.exists():
        load_weights(module.vae, former)
    module.configure_optimizers()  # whose ranges only they know
    return Parts(device, built, module, during, at_end, during_figures, at_end_figures)
