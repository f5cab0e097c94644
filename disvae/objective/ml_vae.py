"""E_q~[-log p(x|z)] + beta KL(q~(z|x) || p(z)) over pairs, by the product rule: Bouchacourt et al. 2018.

q~ is q(z|x), but latents that the two images of a pair seem to share get a common posterior: means weighted by their
precision, and the harmonic mean of the variances. Locatello et al. 2020 choose the shared latents; the variance is that
of their released code, twice that of the product of the two densities.
"""

from torch import Tensor

from disvae.objective.ada_gvae import AdaGVAE


def by_precision(loc: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of each pair weighted by their precision, and the harmonic mean of the variances."""
    precision = variance.reciprocal()
    total = precision.sum(1, keepdim=True)
    return (precision * loc).sum(1, keepdim=True) / total, 2 / total


class MLVAE(AdaGVAE):
    """The multi-level VAE with adaptively chosen shared latents; it differs from Ada-GVAE in the average alone.

    It is given pairs of images with most factors in common and not told which. k=1 changes one factor between the
    images of a pair; k=random changes, equally often, one or a random number of them.
    """

    average = staticmethod(by_precision)
