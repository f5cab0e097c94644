"""torch's Student-t distribution, changed so that it never waits for the device.

torch's own checks the degrees of freedom whatever `validate_args` says, copies numbers from the host and computes its
moments with masks. A captured CUDA graph allows none of these, and vmap has no rule for the last.
"""

import math
from typing import Any

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution, Gamma


class StudentT(distributions.StudentT):
    """A Student-t distribution with tensor parameters, equal in all its numbers to torch's own."""

    def __init__(self, df: Tensor, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = torch.broadcast_tensors(df, loc, scale)
        self._chi2 = Gamma(0.5 * self.df, torch.full_like(self.df, 0.5), validate_args=False)  # type: ignore[assignment]
        Distribution.__init__(self, self.df.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "StudentT":
        """Return the distribution with its parameters expanded to `batch_shape`."""
        df, loc, scale = (parameter.expand(batch_shape) for parameter in (self.df, self.loc, self.scale))
        return StudentT(df, loc, scale, validate_args=self._validate_args)

    @property
    def mean(self) -> Tensor:
        """Return the mean, NaN where df <= 1."""
        return self.loc.where(self.df > 1, torch.nan)

    @property
    def variance(self) -> Tensor:
        """Return the variance, NaN where df <= 1 and infinite where 1 < df <= 2."""
        finite = self.scale.square() * self.df / (self.df - 2)
        return finite.where(self.df > 2, torch.inf).where(self.df > 1, torch.nan)


def register_df(module: nn.Module, df: float, learn: bool) -> None:
    """Register `raw_df` (), with softplus(raw_df) = df, as a parameter if `learn` is true, else as a buffer.

    Raises:
        ValueError: df is not positive.
    """
    if not df > 0:
        raise ValueError(f"df must be positive, got {df}")
    raw_df = torch.tensor(df + math.log(-math.expm1(-df)))  # the inverse of softplus
    if learn:
        module.register_parameter("raw_df", nn.Parameter(raw_df))
    else:
        module.register_buffer("raw_df", raw_df)
