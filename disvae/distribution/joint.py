"""p(z) = prod_k p_k(z[slice k]): independent distributions over neighbouring slices of one code, also one-hot ones."""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    OneHotCategoricalStraightThrough,
    constraints,
    kl_divergence,
    register_kl,
)


class OneHot(OneHotCategoricalStraightThrough):
    """A one-hot vector, equal to torch's own, whose samples pass gradients straight through to the probabilities.

    torch's own checks its logits whatever `validate_args` says, and its samples their range. Both wait for the device.
    """

    def __init__(self, logits: Tensor) -> None:
        self._categorical = Categorical(logits=logits, validate_args=False)
        Distribution.__init__(self, logits.shape[:-1], logits.shape[-1:], validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples (*sample_shape, *batch, K)."""
        with torch.no_grad():
            index = self._categorical.sample(torch.Size(sample_shape))
            places = torch.arange(self.event_shape[0], device=index.device)
            hot: Tensor = index[..., None] == places
            return hot.to(self._categorical.logits.dtype)


class Joint(Distribution):
    """Independent parts, each with an event (d_k,), that lie one after another in an event (D,).

    It does not factorise over latents as far as other code can see, for a part may be a one-hot vector.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector  # of categorical parts only the corners

    def __init__(self, parts: Sequence[Distribution]) -> None:
        self.parts = tuple(parts)
        self.sizes = [part.event_shape[0] for part in parts]
        super().__init__(self.parts[0].batch_shape, torch.Size([sum(self.sizes)]), validate_args=False)

    def split(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the slices (..., d_k) of codes (..., D)."""
        return torch.split(z, self.sizes, dim=-1)

    def log_probs(self, z: Tensor) -> list[Tensor]:
        """Return the log-density of each part, shape (...), at codes (..., D)."""
        return [part.log_prob(value) for part, value in zip(self.parts, self.split(z), strict=True)]

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density (...) of codes (..., D), the sum over the parts."""
        return torch.stack(self.log_probs(value)).sum(0)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples (*sample_shape, *batch, D)."""
        return torch.cat([part.sample(torch.Size(sample_shape)) for part in self.parts], dim=-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples with gradients to the parameters of all parts."""
        return torch.cat([part.rsample(torch.Size(sample_shape)) for part in self.parts], dim=-1)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        """Return whether all parts have samples with gradients."""
        return all(part.has_rsample for part in self.parts)

    @property
    def mean(self) -> Tensor:
        """Return the means (*batch, D), which are the probabilities of a categorical part."""
        return torch.cat([part.mean for part in self.parts], dim=-1)

    @property
    def variance(self) -> Tensor:
        """Return the variances (*batch, D)."""
        return torch.cat([part.variance for part in self.parts], dim=-1)

    def entropy(self) -> Tensor:
        """Return the entropy (*batch,), the sum over the parts."""
        return torch.stack([part.entropy() for part in self.parts]).sum(0)


@register_kl(Joint, Joint)  # type: ignore[untyped-decorator]
def _kl(p: Joint, q: Joint) -> Tensor:
    if p.sizes != q.sizes:
        raise NotImplementedError(f"parts of {p.sizes} and {q.sizes} latents have no KL part by part")
    return torch.stack([kl_divergence(a, b) for a, b in zip(p.parts, q.parts, strict=True)]).sum(0)


def check_categories(categories: list[int], z_dim: int) -> None:
    """Raise ValueError unless `categories` are sizes of one-hot vectors that have room among `z_dim` latents."""
    if any(size < 2 for size in categories) or sum(categories) > z_dim:
        raise ValueError(
            f"categories must be sizes of at least 2 with a sum of at most z_dim={z_dim}, got {list(categories)}"
        )
