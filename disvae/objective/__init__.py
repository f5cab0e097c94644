"""Objectives: the rows of a batch, its way through the networks, and the loss with the terms that explain it."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from disvae.dataset import Dataset
from disvae.dataset.batches import Batch
from disvae.dataset.samplers import Sampler
from disvae.vae import VAE, Draw


class Objective(nn.Module):
    """Terms in nats: sums over pixels and latents, means over the batch.

    Several runs can be trained by one vectorised step, and the steps of a run can be replayed as a CUDA graph. Both ask
    two things of `forward` and `draw`:

    - Its Python must not branch on a weight, nor turn one into a number (`float(weight)`), since a weight may be a
      tensor there. The exception is `schedule.is_zero`, which has the same value in all runs of a pack. A weight is a
      schedule, or a constructor argument annotated `float`.
    - It may use the step only as the argument of its schedules: `self.beta(draw.step)`.

    An objective that does otherwise trains as well, but more slowly: each run alone, step by step. A line says why.
    """

    extra_batches: int = 0
    """How many further independent batches the objective needs; their codes are in `Draw.z_extra`."""

    least_batch: int = 1
    """The least number of images in a batch from which the objective's estimates can be made."""

    sampler: Sampler | None = None
    """What chooses the rows of training batches by their factors; None: permutations of all rows, epoch by epoch."""

    encoder_outputs: int = 0
    """How many numbers the encoder gives before those that the posterior reads, for the objective's own use."""

    noise: int = 0
    """How many inputs the decoder takes after a code; they are 0 wherever the objective does not draw them itself."""

    without_elbo: str = ""
    """Why no ELBO is made, if none is: what an ELBO or q(z) would be needed for is then refused with this reason."""

    best: str = "elbo"
    """The term, or another number of a validation, whose highest value so far makes best.ckpt."""

    def prepare(self, dataset: Dataset) -> None:
        """Take what the objective reads from the dataset before training, as its factors' names, or raise ValueError.

        What is taken is a setting or a buffer with persistent=False, for a checkpoint is read without a dataset.
        """

    def latent_names(self, factors: Sequence[str]) -> Sequence[str]:
        """Return what each of the D latents is for, where the objective says it, as the name of a factor; else ()."""
        return ()

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Draw:
        """Return a batch passed through the networks, which here is encoded, sampled and decoded.

        In a validation `batch.group` is None. An objective that reads groups then returns this draw, so that its
        `val/*` can be compared with those of other objectives. It may return a subclass of Draw.
        """
        draw: Draw = vae(batch.x, step=step, N=N, x_extra=batch.x_extra, h=batch.h)
        return draw

    @abstractmethod
    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return named scalars, and vectors (D,) that are logged per latent; `"loss"` is what training minimises."""

    def check(self, draw: Draw) -> None:
        """Raise ValueError, saying what to type instead, if prior, posterior or N do not suit this objective."""

    def groups(self, vae: VAE) -> list[dict[str, Any]]:
        """Return all optimiser groups: one of the VAE's parameters, and those of the objective beside it."""
        return [{"params": list(vae.parameters())}, *self.parameter_groups()]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups, with their own settings, of the objective's parameters (a discriminator's, say)."""
        return [{"params": list(self.parameters())}] if any(True for _ in self.parameters()) else []
