"""A run's configuration to everything it trains with."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from disvae.config import ConfigError
from disvae.data.batches import Data
from disvae.dataset import Dataset
from disvae.instantiate import make
from disvae.vae import VAE

if TYPE_CHECKING:
    from disvae.training.module import VAEModule

LOOK = 10_000
"""Training images, drawn by seed, that a prior may be initialised from."""


@dataclass
class Built:
    """Everything a run trains with."""

    dataset: Dataset
    data: Data
    module: "VAEModule"


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
    """Dataset, unless it is at hand, batches and the module to train, from a resolved configuration.

    Raises:
        ConfigError: naming the key, its value and what to type, also for parts that cannot go together.
    """
    from disvae.training.module import VAEModule  # and Lightning, which a metric or a VAE can be built without

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
        module = VAEModule(
            vae,
            objective,
            optimizer=lambda groups: make(config["optimizer"], "optimizer", params=groups),
            data=data,
            seed=config["seed"],
            eval_samples=config["eval_samples"],
            gradient_clip_val=config["trainer"]["gradient_clip_val"],
            graph=config["trainer"].get("graph", True),
        )
        module.check(dataset.images.take(look[:64]))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error
    return Built(dataset, data, module)


def count(network: nn.Module) -> int:
    """Trainable numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
