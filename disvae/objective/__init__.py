"""Objectives: the loss that training minimises and the named terms that explain it."""

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
    """How many further independent batches the objective needs; their codes are in `Draw.z_extra`."""

    least_batch: int = 1
    """The least number of images in a batch from which the objective's estimates can be made."""

    @abstractmethod
    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return named scalars, and vectors (D,) that are logged per latent; `"loss"` is what training minimises."""

    def check(self, draw: Draw) -> None:
        """Raise ValueError, saying what to type instead, if prior, posterior or N do not suit this objective."""

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups, with their own settings, of the objective's parameters (a discriminator's, say)."""
        return [{"params": list(self.parameters())}] if any(True for _ in self.parameters()) else []
