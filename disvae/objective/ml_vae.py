"""E_q~[-log p(x|z)] + beta KL(q~(z|x) || p(z)) over pairs, by the product rule: Bouchacourt et al. 2018.

q~ is q(z|x), but latents that the two images of a pair seem to share get a common posterior: means weighted by their
precision, and the harmonic mean of the variances. Locatello et al. 2020 choose the shared latents; the variance is that
of their released code, twice that of the product of the two densities.
"""

from typing import Any, Literal

import torch
from torch import Tensor

from disvae.dataset.batches import Batch
from disvae.dataset.samplers import Pairs
from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.objective.ada_gvae import check_gaussian, pair_draw
from disvae.schedule import Schedule
from disvae.vae import VAE, Draw


def by_precision(loc: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of each pair weighted by their precision, and the harmonic mean of the variances."""
    precision = variance.reciprocal()
    total = precision.sum(1, keepdim=True)
    return (precision * loc).sum(1, keepdim=True) / total, 2 / total


class MLVAE(Objective):
    """The multi-level VAE with adaptively chosen shared latents; it differs from Ada-GVAE in the average alone.

    It is given pairs of images with most factors in common and not told which. k=1 changes one factor between the
    images of a pair; k=random changes, equally often, one or a random number of them.
    """

    def __init__(self, beta: Schedule, k: int | Literal["random"]) -> None:
        super().__init__()
        self.beta = beta
        self.sampler = Pairs(k)

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless the posterior is a Gaussian that factorises."""
        check_gaussian(draw, "ml_vae")

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Draw:
        """Return pairs with a common posterior of their shared latents; single images are passed as ever."""
        if batch.group is None:
            return super().draw(vae, batch, step=step, N=N)
        return pair_draw(vae, batch, by_precision, step=step, N=N)

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms of the common posteriors in nats per image, and the current beta."""
        terms = elbo_terms(draw)
        beta = self.beta(draw.step)
        loss = terms["reconstruction"] + beta * terms["kl"]
        return {"loss": loss, **terms, "beta": beta * torch.ones_like(loss)}
