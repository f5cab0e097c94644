"""E_q[-log p(x|z)] + beta_t KL(q(z|x) || p(z)), beta_t from a PI controller: Shao et al. 2020, eq. 8 to 10."""

import torch
from torch import Tensor, nn

from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.schedule import Schedule
from disvae.vae import Draw


class ControlVAE(Objective):
    """The ControlVAE, which sets beta at each step so that the KL comes to a target C in nats and stays there.

    With the error e = C - KL of a batch, beta = least + kp / (1 + exp(e)) - ki * (sum of the errors so far), cut to
    [least, most]. The sum is held where it alone would leave that range, so that it does not wind up while beta cannot
    follow. A target above the KL at beta = `least` cannot be reached. The controller's sum is in the checkpoint.
    """

    integral: Tensor  # (): -ki times the sum of the errors, within [0, most - least]

    def __init__(self, target: Schedule, kp: float, ki: float, least: float, most: float) -> None:
        super().__init__()
        for name, value in (("kp", kp), ("ki", ki), ("least", least)):
            if not value >= 0:
                raise ValueError(f"{name} must be non-negative, got {value}")
        if not most > least:
            raise ValueError(f"most must be above least={least}, got {most}")
        self.target = target
        self.kp = kp
        self.ki = ki
        self.least = least
        self.most = most
        self.register_buffer("integral", torch.zeros(()))

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms in nats per image, the controller's beta and its target.

        A validation reads the controller and leaves it as it is.
        """
        terms = elbo_terms(draw)
        target = self.target(draw.step) * torch.ones_like(terms["kl"])
        error = target - terms["kl"].detach()
        if self.training:
            self.integral.copy_(_cut(self.integral - self.ki * error, self.most - self.least))
        beta = self.least + _cut(self.kp * torch.sigmoid(-error) + self.integral, self.most - self.least)
        loss = terms["reconstruction"] + beta * terms["kl"]
        return {"loss": loss, **terms, "beta": beta, "target": target}


def _cut(value: Tensor, most: float) -> Tensor:
    """Return a value within [0, most]; `most` may be a number or a tensor."""
    above: Tensor = nn.functional.relu(value)
    return above - nn.functional.relu(above - most)
