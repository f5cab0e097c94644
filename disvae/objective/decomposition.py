"""E_q[-log p(x|z)] + beta KL(q(z|x) || p(z)) + alpha D(q(z), p(z)): Mathieu et al. 2019."""

import torch
from torch import Tensor

from disvae.divergence import Divergence
from disvae.estimators import elbo_terms, factorised
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class Decomposition(Objective):
    """The decomposition VAE: beta sets how much the posteriors overlap, alpha how closely q(z) follows the prior.

    Under a prior that does not factorise, `released_mixture_kl` replaces the KL in the loss by log q(z|x) - D log p(z),
    as the paper's released code does for its mixture. The logged kl and elbo stay right; `kl_released` is the value
    used.
    """

    def __init__(
        self, beta: Schedule, alpha: Schedule, divergence: Divergence, released_mixture_kl: bool = False
    ) -> None:
        super().__init__()
        self.beta = beta
        self.alpha = alpha
        self.divergence = divergence
        self.released_mixture_kl = released_mixture_kl
        self.least_batch = 1 if alpha.is_zero else divergence.least_batch

    def check(self, draw: Draw) -> None:
        """Raise ValueError if `released_mixture_kl` is true under a prior that factorises, where it is undefined."""
        if self.released_mixture_kl and factorised(draw.pz) is not None:
            raise ValueError(
                "prior must be a mixture for objective.released_mixture_kl=true: type prior=mixture, or leave it false"
            )

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and ELBO terms in nats per image, the current weights, and D unless alpha is always zero.

        While a schedule holds alpha at zero, D is computed and logged all the same: a packed step cannot branch on it.
        """
        terms = elbo_terms(draw)
        beta, alpha = self.beta(draw.step), self.alpha(draw.step)
        kl = terms["kl"]
        if self.released_mixture_kl:
            D = draw.z.shape[1]
            kl = (draw.qz_x.log_prob(draw.z) - D * draw.pz.log_prob(draw.z)).mean()
            terms["kl_released"] = kl
        loss = terms["reconstruction"] + beta * kl
        if not self.alpha.is_zero:
            divergence = self.divergence(draw.qz_x, draw.pz, draw.z)
            terms["divergence_minibatch"] = divergence
            loss = loss + alpha * divergence + self.divergence.fit_loss(draw.qz_x, draw.pz, draw.z)
        return {"loss": loss, **terms, "beta": beta * torch.ones_like(loss), "alpha": alpha * torch.ones_like(loss)}
