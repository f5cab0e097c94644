"""E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)): Higgins et al. 2017, eq. 4."""

import torch
from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class BetaVAE(Objective):
    """The beta-VAE, in which beta weighs the whole KL; beta = 1 is the VAE.

    A larger beta makes the posteriors overlap more, so that codes carry less information about x.
    """

    def __init__(self, beta: Schedule) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms in nats per image, and the current beta."""
        terms = elbo_terms(draw)
        beta = self.beta(draw.step)
        loss = terms["reconstruction"] + beta * terms["kl"]
        return {"loss": loss, **terms, "beta": beta * torch.ones_like(loss)}
