"""The parts of a run, built from its configuration: dataset, batches, VAE and objective."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MixtureSameFamily

from disvae.config import ConfigError
from disvae.dataset import Dataset, check_images
from disvae.dataset.batches import Batch, Data
from disvae.estimators import kl
from disvae.objective import Objective
from disvae.prior import Encode
from disvae.system.instantiate import make
from disvae.vae import VAE

LOOK = 10_000
"""Number of training images, drawn by seed, from which a prior may be initialised."""


@dataclass
class Built:
    """The parts of a run that are built from its configuration."""

    dataset: Dataset
    data: Data
    vae: VAE
    objective: Objective


def objective_alone(config: Mapping[str, Any]) -> Objective:
    """Return the objective of a resolved configuration, to be asked and not trained; random numbers stay the same."""
    with torch.random.fork_rng([]):
        objective: Objective = make(config["objective"], "objective")
    return objective


def make_vae(config: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """Return the VAE of a resolved configuration, with initial weights, for images of shape (C, H, W)."""
    z_dim = config["z_dim"]
    prior = make(config["prior"], "prior", z_dim=z_dim)
    posterior = make(config["posterior"], "posterior", z_dim=z_dim)
    likelihood = make(config["likelihood"], "likelihood")
    objective = objective_alone(config)
    own = {name: getattr(objective, name) for name in ("encoder_outputs", "noise", "without_elbo")}
    sizes = {"encoder_size": posterior.size + own["encoder_outputs"], "likelihood_size": likelihood.size}
    model = make(config["model"], "model", x_shape=x_shape, z_dim=z_dim + own["noise"], **sizes)
    vae = VAE(model, prior, posterior, likelihood, **own)
    prior.join(Encode(vae.encode), x_shape)
    return vae


def build(config: Mapping[str, Any], dataset: Dataset | None = None) -> Built:
    """Build dataset (unless it is given), batches, VAE and objective of a resolved configuration.

    Raises:
        ConfigError: a value is wrong or the parts do not fit together; the message says what to type.
    """
    if dataset is None:
        dataset = make(config["dataset"], "dataset")
    try:
        check_images(dataset.images)
    except ValueError as error:
        raise ConfigError(f"dataset: {error}") from error
    torch.manual_seed(config["seed"])  # decides the initial weights
    vae = make_vae(config, dataset.x_shape)
    objective = make(config["objective"], "objective")
    try:
        if config["batch_size"] < objective.least_batch:
            name = type(objective).__name__
            raise ValueError(
                f"batch_size must be at least {objective.least_batch} for {name}, got {config['batch_size']}: "
                f"type batch_size={objective.least_batch} or more"
            )
        if objective.sampler is not None and (len(dataset.factor_sizes) < 2 or min(dataset.factor_sizes) < 2):
            name = type(objective).__module__.rpartition(".")[2]
            raise ValueError(f"objective={name} needs factors of variation: type dataset=sprites")
        objective.prepare(dataset)
        data = Data(
            dataset,
            batch_size=config["batch_size"],
            extra=objective.extra_batches,
            seed=config["seed"],
            eval_images=config["eval_images"],
            sampler=objective.sampler,
            **config["split"],
        )
        look = Data.sample(data.train_rows, LOOK, config["seed"])
        if vae.prior.from_images:
            vae.prior.initialise(dataset.images.take(look))
        x = dataset.images.take(look[:64])
        floats = dataset.images.data.is_floating_point()  # the others are in [0, 1] by their type
        vae.likelihood.check(dataset.images.data if floats else x)
        check_together(vae, objective, x, len(data.train_rows))
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error)) from error
    return Built(dataset, data, vae, objective)


@torch.no_grad()
def check_together(vae: VAE, objective: Objective, x: Tensor, N: int) -> None:
    """Raise ValueError if prior, posterior, objective and images (B, C, H, W) do not fit together."""
    training = vae.training
    vae.eval()  # keeps the running statistics of batch normalisation unchanged
    draw = objective.draw(vae, Batch(x, x[:0]), step=0, N=N)
    _check_prior(draw.pz, draw.z)
    objective.check(draw)
    if not vae.without_elbo and kl(draw.qz_x, draw.pz, draw.z).isinf().any():
        name = type(vae.prior).__module__.rpartition(".")[2]
        raise ValueError(
            f"prior={name} has no density where the posterior has some, so their KL is infinite: type "
            "objective=infogan posterior=joint, or prior=gaussian"
        )
    with torch.enable_grad():
        pz = vae.prior()
        if isinstance(pz, MixtureSameFamily) and pz.mixture_distribution.logits.requires_grad:
            # A divergence that draws from the prior refuses learnt weights, and it does so where there are gradients.
            with torch.random.fork_rng([]):
                objective.eval()(objective.draw(vae, Batch(x, x), step=0, N=N))
                objective.train()
    vae.train(training)


def _check_prior(pz: Distribution, z: Tensor) -> None:
    """Raise ValueError unless p(z) has what every prior must have, for codes z (B, D)."""
    if pz.batch_shape or pz.event_shape != z.shape[1:]:
        raise ValueError(
            f"prior must return a distribution with batch_shape () and event_shape ({z.shape[1]},), "
            f"got {tuple(pz.batch_shape)} and {tuple(pz.event_shape)}"
        )
    kind = type(pz)  # it is not sampled, because that would change the random numbers of the run
    samples = kind.sample is not Distribution.sample or kind.rsample is not Distribution.rsample
    if kind.log_prob is Distribution.log_prob or not samples:
        raise ValueError(f"prior must return a distribution with log_prob and sample, but {kind.__name__} lacks one")


def count(network: nn.Module) -> int:
    """Return the number of trainable parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
