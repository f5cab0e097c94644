"""A run's configuration to the LightningModule that trains it."""

from collections.abc import Mapping
from typing import Any

import torch

from disvae.build import Built
from disvae.training.cuda_graph import GraphedVAEModule, can_record
from disvae.training.module import VAEModule


def build_module(config: Mapping[str, Any], built: Built, device: torch.device) -> VAEModule:
    """Return the module of a run's parts; where `device` and trainer.graph allow, its steps become a CUDA graph."""
    # A scheduler changes the learning rate, which a graph holds as a number.
    graph = can_record(device) and config["trainer"].get("graph", True) and not config.get("scheduler")
    kind = GraphedVAEModule if graph else VAEModule
    return kind.of(config, built.vae, built.objective, built.dataset.x_shape, len(built.data.train_rows))
