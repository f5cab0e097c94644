"""KL(q(z|x) || p(z)) + lambda_t (E_q[-log p(x|z)] - target), a Lagrangian: Rezende & Viola 2018, algorithm 1."""

import torch
from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.vae import Draw


class GECO(Objective):
    """A VAE whose KL is as small as the reconstruction's target allows.

    The multiplier lambda grows while the moving average of the constraint, reconstruction - target in nats, is above 0,
    and shrinks below 0: log lambda changes by `rate` times the average, and by at most `largest_step`. At equilibrium
    lambda is 1 / beta of the beta-VAE with this reconstruction. Average and multiplier are in the checkpoint.
    """

    log_multiplier: Tensor  # (): log lambda
    constraint: Tensor  # (): the moving average, in nats
    seen: Tensor  # (): 1 once a batch was seen, so that the average starts with it

    def __init__(self, target: float, rate: float, smoothing: float, largest_step: float) -> None:
        super().__init__()
        if not rate > 0:
            raise ValueError(f"rate must be positive, got {rate}")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")
        if not largest_step > 0:
            raise ValueError(f"largest_step must be positive, got {largest_step}")
        self.target = target
        self.rate = rate
        self.smoothing = smoothing
        self.largest_step = largest_step
        for name in ("log_multiplier", "constraint", "seen"):
            self.register_buffer(name, torch.zeros(()))

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, the ELBO terms in nats per image, lambda, 1 / lambda as beta, and the constraint.

        A validation reads the multiplier and leaves it as it is.
        """
        terms = elbo_terms(draw)
        constraint = terms["reconstruction"] - self.target
        if self.training:
            kept = self.smoothing * self.seen
            average = kept * self.constraint + (1 - kept) * constraint.detach()
            step = self.largest_step * torch.tanh(self.rate * average / self.largest_step)
            self.constraint.copy_(average)
            self.log_multiplier.add_(step)
            self.seen.fill_(1.0)
        multiplier = self.log_multiplier.exp()
        loss = terms["kl"] + multiplier * constraint
        return {"loss": loss, **terms, "multiplier": multiplier, "beta": 1 / multiplier, "constraint": constraint}
