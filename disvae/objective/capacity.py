"""E_q[-log p(x|z)] + gamma |E_x KL(q(z|x) || p(z)) - C|: Burgess et al. 2018, eq. 8."""

import torch
from torch import Tensor

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class Capacity(Objective):
    """Holds the KL at C nats while C grows, so that latents take up what matters most first.

    The absolute value is of the batch mean less C, not a mean over images. The KL of a pair without a closed form is a
    sampled one; its mean over the batch then scatters around C.
    """

    def __init__(self, capacity: Schedule, gamma: float) -> None:
        super().__init__()
        if not gamma >= 0:
            raise ValueError(f"gamma must be non-negative, got {gamma}")
        self.capacity = capacity
        self.gamma = gamma

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Loss, ELBO terms in nats per image, C as it stands and how far the KL is from it."""
        terms = elbo_terms(draw)
        capacity = self.capacity(draw.step)
        gap = (terms["kl"] - capacity).abs()
        loss = terms["reconstruction"] + self.gamma * gap
        return {"loss": loss, **terms, "capacity": capacity * torch.ones_like(loss), "capacity_gap": gap}
