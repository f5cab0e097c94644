"""E_q[-log p(x|z)] + KL(q(z|x) || p(z)) + gamma TC(z), TC = E_q(z)[l_0(z) - l_1(z)]: Kim & Mnih 2018.

A classifier with logits (l_0, l_1) tells codes of the batch from codes of another batch in which each latent is
shuffled on its own. For the best classifier l_0 - l_1 is log q(z) - sum_j log q(z_j).
"""

from typing import Any

import torch
from torch import Tensor

from disvae.estimators import DensityRatio, elbo_terms
from disvae.objective import Objective
from disvae.vae import Draw


def shuffle_latents(z: Tensor) -> Tensor:
    """Return codes (B, D) with each latent permuted over the batch on its own: samples of prod_j q(z_j)."""
    return z.gather(0, torch.rand_like(z).argsort(0))


class FactorVAE(Objective):
    """The FactorVAE, whose total correlation is read by a classifier trained beside the VAE.

    gamma is Chen's beta minus 1. Any prior and posterior can be used. A classifier that lags behind the encoder
    underestimates the total correlation.
    """

    extra_batches = 1

    def __init__(self, z_dim: int, gamma: float, width: int, layers: int, discriminator_lr: float) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must be non-negative, got {gamma}")
        if not discriminator_lr > 0:
            raise ValueError(f"discriminator_lr must be positive, got {discriminator_lr}")
        self.gamma = gamma
        self.discriminator_lr = discriminator_lr
        self.ratio = DensityRatio(z_dim, width, layers)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return the classifier's parameters with their own learning rate and Kim & Mnih's momenta."""
        return [{"params": list(self.parameters()), "lr": self.discriminator_lr, "betas": (0.5, 0.9)}]

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the summed loss of VAE and classifier, and its terms; neither passes a gradient to the other."""
        if len(draw.z_extra) == 0:
            raise ValueError("z_extra must hold the codes of further images, got none")
        terms = elbo_terms(draw)
        log_ratio, fit_loss, accuracy = self.ratio.ratio_and_fit_terms(draw.z, shuffle_latents(draw.z_extra))
        tc = log_ratio.mean()
        return {
            "loss": -terms["elbo"] + self.gamma * tc + fit_loss,
            **terms,
            "tc_density_ratio": tc,
            "discriminator_loss": fit_loss,
            "discriminator_accuracy": accuracy,
        }
