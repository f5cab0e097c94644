"""A run's configuration to everything it trains with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from disvae.batches import Data
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.instantiate import make
from disvae.objective import Objective
from disvae.vae import VAE

LOOK = 10_000
"""Training images, drawn by seed, that a prior may be initialised from."""


@dataclass
class Built:
    """The parts of a run that its configuration names."""

    dataset: Dataset
    data: Data
    vae: VAE
    objective: Objective


def make_vae(config: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """The VAE of a resolved configuration for images of `x_shape` (C, H, W)."""
    z_dim = config["z_dim"]
    prior = make(config["prior"], "prior", z_dim=z_dim)
    posterior = make(config["posterior"], "posterior", z_dim=z_dim)
    likelihood = make(config["likelihood"], "likelihood")
    sizes = {"encoder_size": posterior.size, "likelihood_size": likelihood.size}
    model = make(config["model"], "model", x_shape=x_shape, z_dim=z_dim, **sizes)
    return VAE(model, prior, posterior, likelihood)


def build(config: Mapping[str, Any], dataset: Dataset | None = None) -> Built:
    """Return dataset (unless it is given), batches, VAE and objective of a resolved configuration.

    Raises:
        ConfigError: naming the key, its value and what to type, also for parts that cannot go together.
    """
    if dataset is None:
        dataset = make(config["dataset"], "dataset")
    torch.manual_seed(config["seed"])  # the weights
    vae = make_vae(config, dataset.x_shape)
    objective = make(config["objective"], "objective")
    try:
        data = Data(
            dataset,
            batch_size=config["batch_size"],
            extra=objective.extra_batches,
            seed=config["seed"],
            eval_images=config["eval_images"],
            **config["split"],
        )
        look = Data.sample(data.train_rows, LOOK, config["seed"])
        if vae.prior.from_images:
            vae.prior.initialise(dataset.images.take(look))
        check_together(vae, objective, dataset.images.take(look[:64]), len(data.train_rows))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error
    return Built(dataset, data, vae, objective)


@torch.no_grad()
def check_together(vae: VAE, objective: Objective, x: Tensor, N: int) -> None:
    """Raise ValueError when prior, posterior, likelihood, objective and images (B, C, H, W) cannot go together."""
    training = vae.training
    vae.eval()  # so that a look changes no running statistics
    vae.likelihood.check(x)
    objective.check(vae(x, step=0, N=N))
    vae.train(training)


def count(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
