"""E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)): Higgins et al. 2017, eq. 4."""

import torch
from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class BetaVAE(Objective):
    """The whole KL weighed by beta: more overlap of the posteriors, less information about x; beta = 1 is the VAE."""

    def __init__(self, beta: Schedule) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Loss, ELBO terms in nats per image, and beta as it stands."""
        terms = elbo_terms(draw)
        beta = self.beta(draw.step)
        loss = terms["reconstruction"] + beta * terms["kl"]
        return {"loss": loss, **terms, "beta": beta * torch.ones_like(loss)}
