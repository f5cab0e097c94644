"""Several runs as one LightningModule: their steps are made at once, everything else is done for each as if alone."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from disvae.training.module import Diverged, Steps, Terms, VAEModule, names_of
from disvae.training.packed.vmap_step import Pack
from disvae.training.schedule_inputs import AnyStep


class Packed(Steps):
    """K runs of equal `disvae.training.packed.vmap_step.structure` on one dataset, all at the same step.

    A member that diverges is left behind: `failed` is told of it, and the others go on without it.
    """

    def __init__(self, members: Sequence[VAEModule], failed: Callable[[VAEModule, Diverged], None]) -> None:
        super().__init__(members[0].graph)
        self.everyone = nn.ModuleList(members)
        self.members = list(members)
        self.failed = failed
        self.step = members[0].step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimiser over the members' stacked parameters, in the state that theirs are in."""
        optimizers = [member.configure_optimizers() for member in self.members]
        images = self.members[0].data.images.to(self.device)
        for member in self.members:
            member.data.images = images  # one copy on the device
        self.pack = Pack(self.members, optimizers, gradient_clip_val=self.members[0].gradient_clip_val)
        return self.pack.optimizer

    def checkpoint_of(self, member: VAEModule) -> dict[str, Any]:
        """As if the member had been trained alone."""
        return member.checkpoint(self.pack.optimizer_state(self.pack.members.index(member)))

    def inputs(self, first: int, n: int) -> dict[str, Tensor]:
        """Those of the members, stacked along the second axis."""
        of_members = [member.inputs(first, n) for member in self.pack.members]
        return {name: torch.stack([inputs[name] for inputs in of_members], 1) for name in of_members[0]}

    def generators(self) -> list[torch.Generator]:
        """The members' own."""
        return self.pack.generators

    def seed_noise(self, step: int) -> None:
        """Seed the members' generators."""
        self.pack.seed(step)

    def gradients(self, index: Tensor, extra: Tensor, weights: Tensor, step: int | AnyStep) -> Tensor:
        """Terms and gradient norms (K, T) of images `index` (K, B) and `extra` (K, B')."""
        images = self.members[0].data.images
        x, x_extra = (images.take(rows.flatten()).unflatten(0, rows.shape) for rows in (index, extra))
        terms = self.pack.gradients(x, x_extra, weights)
        self.names = self.names or names_of(terms, axes=1)
        K = len(index)
        return torch.cat([term.reshape(K, -1).float() for term in terms.values()], dim=1)

    def update(self) -> None:
        """The optimiser's step."""
        self.pack.update()

    def keep(self, first: int, values: Tensor) -> None:
        """Give the members their terms, of `values` (n, K, T), and leave behind those that diverged.

        Raises:
            Diverged: that of the last member, when none is left.
        """
        lost: dict[int, Diverged] = {}
        for k, member in enumerate(self.pack.members):
            member.terms = Terms(first, self.names, values[:, k])
            try:
                member.terms.check()
            except Diverged as error:
                lost[k] = error
            else:
                member.step = first + len(values)
                member.last_terms = member.terms.of(member.step - 1)
        if not lost:
            return
        for k, diverged in lost.items():
            self.failed(self.pack.members[k], diverged)
        if len(lost) == len(self.pack.members):
            raise lost[k]
        self.pack = self.pack.without(lost)
        self.members = self.pack.members
        self.recapture()
