"""Objective: what training minimises, and the named terms that explain it."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from disvae.vae import Draw


class Objective(nn.Module):
    """Terms in nats: sums over pixels and latents, means over the batch."""

    extra_batches: int = 0
    """Independent further batches whose codes the objective wants in `Draw.z_extra`."""

    @abstractmethod
    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Named scalars, or vectors (D,) logged per latent; `"loss"` is what is minimised."""

    def check(self, draw: Draw) -> None:
        """Raises ValueError, saying what to type instead, when prior, posterior or N cannot go with this objective."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Optimiser groups of the objective's own parameters (a discriminator's, say), with their own settings."""
        return [{"params": list(self.parameters())}] if any(True for _ in self.parameters()) else []
