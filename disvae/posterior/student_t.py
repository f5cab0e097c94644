"""q(z|x) = prod_d t(z_d; nu, mu_d(x), s_d(x))."""

import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution, Independent

from disvae.distribution import student_t
from disvae.posterior import Posterior
from disvae.posterior.link import Link, link_function


class StudentT(Posterior):
    """A factorised Student-t with one nu for all images and latents; its KL is a sampled estimate under every prior."""

    raw_df: Tensor  # (): softplus(raw_df) = nu

    def __init__(self, z_dim: int, *, df: float, learn_df: bool, link: Link) -> None:
        super().__init__(z_dim, 2 * z_dim)
        self.scale = link_function(link)
        student_t.register_df(self, df, learn_df)

    @property
    def df(self) -> Tensor:
        """Return the degrees of freedom nu ()."""
        return F.softplus(self.raw_df)

    def forward(self, h: Tensor) -> Distribution:
        """Return batch (B,), event (D,) from `h` (B, 2D).

        Nothing is clamped; with link=exp, densities are finite for |h| <= 60.
        """
        loc, raw = h.chunk(2, dim=-1)
        latents = student_t.StudentT(self.df, loc, self.scale(raw), validate_args=False)
        return Independent(latents, 1, validate_args=False)
