"""p(z) = N(z; 0, diag v), v_d = mean_variance * D * softmax(log_variance)_d, Mathieu et al. 2019, section 5."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from disvae.prior import Prior


def principal_variances(images: Tensor, count: int, rows: int = 4096) -> Tensor:
    """Return the largest `count` eigenvalues, descending, in float64, of the pixel covariance of images (n, C, H, W).

    The covariance is exact and summed over `rows` images at a time, so memory does not grow with n. Fewer images than
    pixels have the same eigenvalues in the smaller matrix of their inner products.

    Raises:
        ValueError: the images vary in fewer than `count` directions.
    """
    flat = images.flatten(1)
    n, pixels = flat.shape
    mean = flat.mean(0, dtype=torch.float64)
    if n < pixels:
        centred = flat.double() - mean  # (n, pixels)
        scatter = centred @ centred.T
    else:
        scatter = torch.zeros(pixels, pixels, dtype=torch.float64, device=flat.device)
        for chunk in torch.split(flat, rows):
            centred = chunk.double() - mean  # (rows, pixels)
            scatter += centred.T @ centred
    variances: Tensor = torch.linalg.eigvalsh(scatter / (n - 1)).flip(0)[:count]
    varied = int((variances > 1e-12 * variances[0]).sum())
    if varied < count:
        raise ValueError(
            f"z_dim must be at most {varied} for prior.variances=pca, the number of directions in which the images "
            f"vary, got {count}: type prior.variances=equal prior.learn=true"
        )
    return variances


class Anisotropic(Prior):
    """A Gaussian with unequal variances whose mean is fixed, so that beta keeps its meaning.

    `variances` (D,) are relative. With "pca" they are the variances of the images' first D principal components, which
    `initialise` computes, and NaN before that. (The paper's released code keeps components 20 to 11 of uncentred
    images.)
    """

    loc: Tensor  # (D,)
    log_variance: Tensor  # (D,), up to a constant

    def __init__(
        self,
        z_dim: int,
        *,
        variances: list[float] | Literal["pca", "equal"],
        mean_variance: float,
        learn: bool,
    ) -> None:
        super().__init__(z_dim)
        if not mean_variance > 0:
            raise ValueError(f"mean_variance must be positive, got {mean_variance}")
        if isinstance(variances, str):
            if variances not in ("pca", "equal"):
                raise ValueError(f"variances must be pca, equal or z_dim={z_dim} positive numbers, got {variances}")
            start = torch.full((z_dim,), torch.nan if variances == "pca" else 0.0)
        else:
            if len(variances) != z_dim or not min(variances) > 0:
                raise ValueError(f"variances must be z_dim={z_dim} positive numbers, got {list(variances)}")
            start = torch.tensor(variances, dtype=torch.float64).log().float()
        self.mean_variance = mean_variance
        self.from_images = variances == "pca"
        self.register_buffer("loc", torch.zeros(z_dim))
        if learn:
            self.log_variance = nn.Parameter(start)
        else:
            self.register_buffer("log_variance", start)

    def initialise(self, images: Tensor) -> None:
        """Set the variances to the principal ones of the images (n, C, H, W) if `variances` is "pca"."""
        if self.from_images:
            with torch.no_grad():
                self.log_variance.copy_(principal_variances(images, self.z_dim).log())

    def forward(self) -> Distribution:
        """Return the distribution, with event (D,)."""
        variance = self.mean_variance * self.z_dim * self.log_variance.softmax(0)
        return Independent(Normal(self.loc, variance.sqrt(), validate_args=False), 1, validate_args=False)
