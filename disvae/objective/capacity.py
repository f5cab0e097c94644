"""E_q[-log p(x|z)] + gamma |E_x KL(q(z|x) || p(z)) - C|: Burgess et al. 2018, eq. 8."""

import torch
from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class Capacity(Objective):
    """An objective that holds the KL at C nats while C grows, so that latents encode what matters most first.

    The absolute value is taken of the batch mean minus C, not of each image. A pair without a closed-form KL has a
    sampled one, whose batch mean scatters around C.
    """

    def __init__(self, capacity: Schedule, gamma: float) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must be non-negative, got {gamma}")
        self.capacity = capacity
        self.gamma = gamma

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms in nats per image, the current C and the distance of the KL from it."""
        terms = elbo_terms(draw)
        capacity = self.capacity(draw.step)
        gap = (terms["kl"] - capacity).abs()
        loss = terms["reconstruction"] + self.gamma * gap
        return {"loss": loss, **terms, "capacity": capacity * torch.ones_like(loss), "capacity_gap": gap}
