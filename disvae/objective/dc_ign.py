"""E_q[-log p(x|z_S, m)] + sum_{j in S} KL_j + (invariance / 2) sum_{j not in S} (mu_j - m_j)^2: Kulkarni et al. 2015.

In each group of images one factor varies. S holds the latents that this factor owns, and m is the group's mean of mu
without gradient. So the other latents get the gradient invariance (mu_j - m_j) alone, section 3.2 of the paper.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from disvae.dataset import Dataset
from disvae.dataset.batches import Batch
from disvae.dataset.samplers import OneFactor
from disvae.estimators import elbo_terms, elementwise_kl, factorised
from disvae.objective import Objective
from disvae.vae import VAE, Draw

UNORDERED = ("shape", "category", "instance", "type")
"""Words in the names of factors without a natural order, which are intrinsic unless `owners` names them."""


@dataclass(frozen=True)
class Clamped(Draw):
    """A draw whose decoder got the group's mean for each latent that does not own what varies."""

    owned: Tensor  # (B, D): whether the latent owns the factor that varies in the image's group
    group_mean: Tensor  # (B, D): the mean of mu over the image's group, without gradient


class DCIGN(Objective):
    """The deep convolutional inverse graphics network, which is told which factor varies in a group, never its value.

    `owners` gives factors their numbers of latents, from the first latent on. All other factors are intrinsic: they
    vary together and own the latents that remain. Without `owners`, each factor with a natural order owns one latent.
    A validation decodes plain codes, so its terms compare with those of other objectives.
    """

    def __init__(self, z_dim: int, owners: Mapping[str, int] | None, groups: int, invariance: float) -> None:
        super().__init__()
        if not invariance >= 0:
            raise ValueError(f"invariance must be non-negative, got {invariance}")
        if owners is not None and (not owners or min(owners.values()) < 1):
            raise ValueError(f"owners must give each factor 1 latent or more, got {dict(owners)}")
        self.z_dim = z_dim
        self.owners = None if owners is None else dict(owners)
        self.invariance = invariance
        self.groups_per_batch = groups
        self.sampler = OneFactor(groups)
        self.register_buffer("owner", torch.zeros(0, z_dim, dtype=torch.bool), persistent=False)  # (slots, D)

    def slots(self, factors: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
        """Return the factors of each slot and its number of latents; the intrinsic slot is last.

        Raises:
            ValueError: `owners` does not fit the factors or z_dim; the message says what to type.
        """
        ordered = [name for name in factors if not any(word in name for word in UNORDERED)]
        owners = dict.fromkeys(ordered if len(ordered) < len(factors) else factors[:-1], 1)
        owners = owners if self.owners is None else self.owners
        for name in owners:
            if name not in factors:
                raise ValueError(f"objective.owners names {name}, but the factors are {', '.join(factors)}")
        intrinsic = tuple(name for name in factors if name not in owners)
        left = self.z_dim - sum(owners.values())
        if left < 0 or bool(left) != bool(intrinsic):
            least = sum(owners.values()) + bool(intrinsic)
            whose = f"{', '.join(intrinsic)} own the others" if intrinsic else "no factor is left to own others"
            more = " or more" if intrinsic else ""
            raise ValueError(
                f"objective.owners gives {sum(owners.values())} latents to {', '.join(owners)}, and {whose}: "
                f"z_dim must be {least}{more}, got {self.z_dim}: type z_dim={least}"
            )
        return [((name,), n) for name, n in owners.items()] + ([(intrinsic, left)] if intrinsic else [])

    def latent_names(self, factors: Sequence[str]) -> list[str]:
        """Return the name of each latent's owner."""
        return [", ".join(names) for names, n in self.slots(factors) for _ in range(n)]

    def prepare(self, dataset: Dataset) -> None:
        """Take the number of each factor from the dataset, and which latents it owns."""
        slots = self.slots(dataset.factor_names)
        number = dataset.factor_names.index
        self.sampler = OneFactor(self.groups_per_batch, tuple(tuple(map(number, names)) for names, _ in slots))
        slot_of = torch.arange(len(slots)).repeat_interleave(torch.tensor([n for _, n in slots]))  # (D,)
        self.owner = slot_of == torch.arange(len(slots))[:, None]

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless prior and posterior factorise over latents, of which each gets its own gradient."""
        for name, dist in (("posterior", draw.qz_x), ("prior", draw.pz)):
            if factorised(dist) is None:
                raise ValueError(f"{name} must factorise over latents for objective=dc_ign: type {name}=gaussian")

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Draw:
        """Return the images decoded with only the owner's latents free; plain images are decoded as ever."""
        if batch.group is None or batch.varies is None:
            return super().draw(vae, batch, step=step, N=N)
        qz_x = vae.encode(batch.x)
        group_mean = qz_x.mean.detach().unflatten(0, (len(batch.varies), -1)).mean(1)[batch.group]
        owned = self.owner[batch.varies][batch.group]
        z = torch.where(owned, qz_x.rsample(), group_mean)
        return Clamped(
            batch.x, z, qz_x, vae.prior(), vae.decode(z), step, N, z.new_zeros(0, z.shape[1]), owned, group_mean
        )

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss and the ELBO terms in nats per image, and in training the owners' KL and the invariance."""
        terms = elbo_terms(draw)
        if not isinstance(draw, Clamped):
            return {"loss": -terms["elbo"], **terms}
        per_latent = elementwise_kl(draw.qz_x, draw.pz, draw.z)
        assert per_latent is not None
        kl_owned = (per_latent * draw.owned).mean(0).sum()
        invariance = (~draw.owned * (draw.qz_x.mean - draw.group_mean).square()).sum(1).mean()
        loss = terms["reconstruction"] + kl_owned + self.invariance / 2 * invariance
        return {"loss": loss, **terms, "kl_owned": kl_owned, "invariance": invariance}
