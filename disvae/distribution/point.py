"""A point mass in each latent, q(z|x) = delta(z - loc): samples without noise, and no density."""

from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

NO_DENSITY = (
    "posterior=deterministic has no density and no KL: type objective=wae_mmd divergence=mmd, or posterior=gaussian"
)


class Point(Distribution):
    """The distribution, event (D,), that is always `loc` (*batch, D); whatever needs a density raises ValueError."""

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {"loc": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor) -> None:
        self.loc = loc
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Return `loc` as samples (*sample_shape, *batch, D), with its gradient."""
        return self.loc.expand(self._extended_shape(torch.Size(sample_shape)))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Return samples (*sample_shape, *batch, D) without a gradient."""
        return self.rsample(sample_shape).detach()

    @property
    def mean(self) -> Tensor:
        """Return `loc` (*batch, D)."""
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Return zeros (*batch, D)."""
        return torch.zeros_like(self.loc)

    def log_prob(self, value: Tensor) -> NoReturn:
        """Raise ValueError, for a point has no density."""
        raise ValueError(NO_DENSITY)

    def entropy(self) -> NoReturn:
        """Raise ValueError, for a point has no entropy."""
        raise ValueError(NO_DENSITY)
