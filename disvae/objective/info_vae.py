"""E_q[-log p(x|z)] + (1 - a) KL(q(z|x) || p(z)) + (a + l - 1) D(q(z), p(z)): Zhao et al. 2019, eq. 6."""

from torch import Tensor

from disvae.divergence import Divergence
from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.vae import Draw


class InfoVAE(Objective):
    """The InfoVAE, in the paper's own weights: the decomposition VAE with beta = 1 - a and alpha = a + l - 1.

    `a` weighs I(x;z), which is penalised with weight 1 - a, and `l` the divergence of q(z) from the prior. The paper's
    MMD-VAE has a = 1.
    """

    def __init__(self, a: float, l: float, divergence: Divergence) -> None:  # noqa: E741 - the paper's lambda
        super().__init__()
        if not a <= 1:
            raise ValueError(f"a must be at most 1, so that the KL has a weight 1 - a that is not negative, got {a}")
        if not l >= 1 - a:
            raise ValueError(f"l must be at least 1 - a = {1 - a:g}, so that D has no negative weight, got {l}")
        self.a = a
        self.l = l
        self.divergence = divergence
        self.least_batch = divergence.least_batch

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, the ELBO terms and this batch's D, in nats per image except for an MMD."""
        terms = elbo_terms(draw)
        divergence = self.divergence(draw.qz_x, draw.pz, draw.z)
        loss = terms["reconstruction"] + (1 - self.a) * terms["kl"] + (self.a + self.l - 1) * divergence
        fit = self.divergence.fit_loss(draw.qz_x, draw.pz, draw.z)
        return {"loss": loss + fit, **terms, "divergence_minibatch": divergence}
