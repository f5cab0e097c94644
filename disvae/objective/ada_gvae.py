"""E_q~[-log p(x|z)] + beta KL(q~(z|x) || p(z)) over pairs of images: Locatello et al. 2020, eq. 5 and 6.

q~ is q(z|x), but latents that the two images seem to share get the average of both posteriors.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from disvae.dataset.batches import Batch
from disvae.dataset.samplers import Pairs
from disvae.estimators import elbo_terms, factorised
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import VAE, Draw

Average = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""A function of the means and variances (P, 2, D) of pairs that returns those of their common posterior (P, 1, D)."""


def share(q_d: Normal, average: Average) -> Distribution:
    """Return the posteriors (B,) of pairs, given per latent, with shared latents averaged.

    A latent is shared if its KL between the two posteriors is below the middle of the pair's smallest and largest KL.
    """
    loc, scale = (number.unflatten(0, (-1, 2)) for number in (q_d.loc, q_d.scale))  # (P, 2, D)
    ones, others = (Normal(loc[:, i], scale[:, i], validate_args=False) for i in range(2))
    distance = kl_divergence(ones, others)  # (P, D)
    middle = (distance.amin(1) + distance.amax(1)) / 2
    shared = (distance < middle[:, None])[:, None]  # (P, 1, D)
    common_loc, common_variance = average(loc, scale.square())
    loc = torch.where(shared, common_loc, loc).flatten(0, 1)
    scale = torch.where(shared, common_variance.sqrt(), scale).flatten(0, 1)
    return Independent(Normal(loc, scale, validate_args=False), 1)


def pair_draw(vae: VAE, batch: Batch, average: Average, *, step: Any, N: int) -> Draw:
    """Return pairs of images passed through the VAE with the latents averaged that they seem to share."""
    q_d = factorised(vae.encode(batch.x))
    assert isinstance(q_d, Normal)
    qz_x = share(q_d, average)
    z = qz_x.rsample()
    return Draw(batch.x, z, qz_x, vae.prior(), vae.decode(z), step, N, z.new_zeros(0, z.shape[1]))


def arithmetic(loc: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean of the means and that of the variances of each pair."""
    return loc.mean(1, keepdim=True), variance.mean(1, keepdim=True)


class AdaGVAE(Objective):
    """The adaptive group VAE, a beta-VAE that is given pairs of images with most factors in common.

    It is not told which factors, nor how many. k=1 changes one factor between the images of a pair; k=random changes,
    equally often, one or a random number of them. A validation passes single images.
    """

    average: Average = staticmethod(arithmetic)
    """How the posteriors of a pair become a common one; ML-VAE differs in this alone."""

    def __init__(self, beta: Schedule, k: int | Literal["random"]) -> None:
        super().__init__()
        self.beta = beta
        self.sampler = Pairs(k)

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless the posterior is a Gaussian that factorises."""
        if not isinstance(factorised(draw.qz_x), Normal):
            name = type(self).__module__.rpartition(".")[2]
            raise ValueError(
                f"posterior must be a Gaussian that factorises for objective={name}: type posterior=gaussian"
            )

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Draw:
        """Return pairs with their shared latents averaged; single images are passed as ever."""
        if batch.group is None:
            return super().draw(vae, batch, step=step, N=N)
        return pair_draw(vae, batch, self.average, step=step, N=N)

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms of the averaged posteriors in nats per image, and the current beta."""
        terms = elbo_terms(draw)
        beta = self.beta(draw.step)
        loss = terms["reconstruction"] + beta * terms["kl"]
        return {"loss": loss, **terms, "beta": beta * torch.ones_like(loss)}
