"""p(z) = prod_d t(z_d; nu, 0, s), Mathieu et al. 2019, section 5: heavy tails single out the axes."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent

from disvae.distribution import student_t
from disvae.prior import Prior


class StudentT(Prior):
    """A product of univariate Student-t's; the spherical multivariate one would be invariant to rotations."""

    loc: Tensor  # (D,)
    scale: Tensor  # (D,)
    raw_df: Tensor  # (): softplus(raw_df) = nu

    def __init__(self, z_dim: int, *, df: float, scale: float, learn_df: bool) -> None:
        super().__init__(z_dim)
        student_t.register_df(self, df, learn_df)
        if not scale > 0:
            raise ValueError(f"scale must be positive, got {scale}")
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.full((z_dim,), float(scale)))

    @property
    def df(self) -> Tensor:
        """Return the degrees of freedom nu (), one for all latents."""
        return F.softplus(self.raw_df)

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,)."""
        latents = student_t.StudentT(self.df, self.loc, self.scale, validate_args=False)
        return Independent(latents, 1, validate_args=False)
