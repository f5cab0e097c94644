"""Objective: what training minimises, and the named terms that explain it."""

from abc import abstractmethod
from typing import Any

from torch import Tensor, nn

from disvae.vae import Draw


class Objective(nn.Module):
    """Terms in nats: sums over pixels and latents, means over the batch.

    Several runs can be trained by one vectorised step, and the steps of a run can be replayed as a CUDA graph. Both ask
    two things of `forward`:

    - Its Python must not branch on a weight, nor turn one into a number (`float(weight)`), since a weight may be a
      tensor there. The exception is `schedule.is_zero`, which has the same value in all runs of a pack. A weight is a
      schedule, or a constructor argument annotated `float`.
    - It may use `draw.step` only as the argument of its schedules: `self.beta(draw.step)`.

    An objective that does otherwise trains as well, but more slowly: each run alone, step by step. A line says why.
    """

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
