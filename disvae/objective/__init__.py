"""Objectives: the loss that training minimises and the named terms that explain it."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from disvae.vae import Draw


class Objective(nn.Module):
    """Terms in nats: sums over pixels and latents, means over the batch."""

    extra_batches: int = 0
    """How many further independent batches the objective needs; their codes are in `Draw.z_extra`."""

    @abstractmethod
    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return named scalars, and vectors (D,) that are logged per latent; `"loss"` is what training minimises."""

    def check(self, draw: Draw) -> None:
        """Raise ValueError, saying what to type instead, if prior, posterior or N do not suit this objective."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups, with their own settings, of the objective's parameters (a discriminator's, say)."""
        return [{"params": list(self.parameters())}] if any(True for _ in self.parameters()) else []
