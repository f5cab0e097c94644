"""-E[log (1/K) sum_k p(x, z_k) / q(z_k|x)], z_k ~ q(z|x): Burda et al. 2016, eq. 8."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from disvae.dataset.batches import Batch
from disvae.estimators import elbo_terms
from disvae.objective import Objective
from disvae.vae import VAE, Draw


@dataclass(frozen=True)
class Weighted(Draw):
    """A draw with further samples: `z` and `px_z` hold the first of K samples of each image."""

    log_w: Tensor  # (K, B): log p(x|z_k) + log p(z_k) - log q(z_k|x)


class IWAE(Objective):
    """The importance weighted autoencoder, whose bound of log p(x) grows with K samples; K = 1 is the VAE.

    The gradient of the encoder gets noisier as K grows. The logged kl and elbo are those of the first sample, so they
    compare with other objectives.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples must be at least 1, got {samples}")
        self.samples = samples

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Draw:
        """Return the images encoded once and decoded from K samples each."""
        qz_x = vae.encode(batch.x) if batch.h is None else vae.posterior(batch.h)
        pz = vae.prior()
        z = qz_x.rsample((self.samples,))  # (K, B, D)
        K, B, D = z.shape
        x = batch.x.expand(K, *batch.x.shape).flatten(0, 1)
        log_px_z = vae.decode(z.flatten(0, 1)).log_prob(x).unflatten(0, (K, B))
        log_w = log_px_z + pz.log_prob(z) - qz_x.log_prob(z)
        return Weighted(batch.x, z[0], qz_x, pz, vae.decode(z[0]), step, N, z.new_zeros(0, D), log_w)

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the loss, which is minus the bound of K samples, and the ELBO terms, in nats per image."""
        assert isinstance(draw, Weighted)
        bound = (draw.log_w.logsumexp(0) - math.log(len(draw.log_w))).mean()
        return {"loss": -bound, **elbo_terms(draw), "iwae_bound": bound}
