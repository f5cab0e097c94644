"""-log p(x|mu(x)) + l MMD(q(z), p(z)): the Wasserstein auto-encoder, Tolstikhin et al. 2018, eq. 4 and algorithm 2."""

from torch import Tensor

from disvae.distribution.point import Point
from disvae.divergence import Divergence
from disvae.objective import Objective
from disvae.vae import Draw


class WAEMMD(Objective):
    """The WAE-MMD: the decomposition VAE with beta = 0, alpha = l and the MMD, for an encoder without noise.

    A deterministic encoder has no density, so there is no ELBO; best.ckpt is that of the highest penalised likelihood.
    The divergence must need samples alone: divergence=mmd, or jsd for the paper's WAE-GAN.
    """

    without_elbo = "the run was trained without an ELBO (wae_mmd): q(z|x) is a point, which has no density and no KL"
    best = "penalised_likelihood"

    def __init__(self, l: float, divergence: Divergence) -> None:  # noqa: E741 - the paper's lambda
        super().__init__()
        if not l >= 0:
            raise ValueError(f"l must be non-negative, got {l}")
        self.l = l
        self.divergence = divergence
        self.least_batch = divergence.least_batch

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless the encoder is deterministic and the divergence needs no density."""
        if not isinstance(draw.qz_x, Point):
            raise ValueError(
                "posterior must be deterministic for objective=wae_mmd: type posterior=deterministic, or "
                "objective=decomposition beta=0 for an encoder with noise"
            )
        self.divergence(draw.qz_x, draw.pz, draw.z)  # raises if it needs a density

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, -log p(x|z) in nats per image, this batch's D, and minus the sum that both make."""
        reconstruction = -draw.px_z.log_prob(draw.x).mean()
        divergence = self.divergence(draw.qz_x, draw.pz, draw.z)
        total = reconstruction + self.l * divergence
        return {
            "loss": total + self.divergence.fit_loss(draw.qz_x, draw.pz, draw.z),
            "reconstruction": reconstruction,
            "divergence_minibatch": divergence,
            "penalised_likelihood": -total,
        }
