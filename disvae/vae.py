"""A VAE joins a model, a prior, a posterior and a likelihood; a Draw holds all that an objective reads in one step."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import pad

from disvae.likelihood import Likelihood
from disvae.model import Model
from disvae.posterior import Posterior
from disvae.prior import Prior


@dataclass(frozen=True)
class Draw:
    """A minibatch passed through the VAE, with one sample of z per image."""

    x: Tensor  # (B, C, H, W); images in [0, 1], clusters in R^2 as (B, 1, 1, 2)
    z: Tensor  # (B, D): a reparameterised sample of q(z|x)
    qz_x: Distribution  # batch (B,), event (D,)
    pz: Distribution  # batch (), event (D,)
    px_z: Distribution  # batch (B,), event (C, H, W)
    step: int  # optimiser steps done before this one
    N: int  # images in the training set
    z_extra: Tensor  # (B', D): codes, without gradient, of images drawn independently of x; B' is 0 if not needed


class VAE(nn.Module):
    """A variational auto-encoder: an encoder, a decoder, a prior, a posterior and a likelihood.

    The first `encoder_outputs` numbers of the encoder are the objective's own; the posterior reads the others. The
    decoder takes `noise` further inputs after a code. `without_elbo` says why no ELBO was trained, if none was: then
    q(z|x) and p(x|z) stand for their means, and no density is compared with p(z).
    """

    def __init__(
        self,
        model: Model,
        prior: Prior,
        posterior: Posterior,
        likelihood: Likelihood,
        *,
        encoder_outputs: int = 0,
        noise: int = 0,
        without_elbo: str = "",
    ) -> None:
        super().__init__()
        self.encoder_outputs = encoder_outputs
        self.noise = noise
        self.without_elbo = without_elbo
        self.model = model
        self.prior = prior
        self.posterior = posterior
        self.likelihood = likelihood

    def outputs(self, x: Tensor) -> Tensor:
        """Return the numbers (B, ...) that the posterior reads, for images (B, C, H, W)."""
        h: Tensor = self.model.encoder(x)
        return h[:, self.encoder_outputs :] if self.encoder_outputs else h

    def encode(self, x: Tensor) -> Distribution:
        """Return q(z|x) for images (B, C, H, W)."""
        qz_x: Distribution = self.posterior(self.outputs(x))
        return qz_x

    def decode(self, z: Tensor, noise: Tensor | None = None) -> Distribution:
        """Return p(x|z) for codes (B, D) and, if the decoder takes it, noise (B, `noise`), which is 0 unless given."""
        if self.noise:
            z = pad(z, (0, self.noise)) if noise is None else torch.cat([z, noise], 1)
        px_z: Distribution = self.likelihood(self.model.decoder(z))
        return px_z

    def draw_noise(self, z: Tensor) -> Tensor:
        """Return noise (B, `noise`) for codes (B, D), uniform on (-1, 1)."""
        return 2 * torch.rand(len(z), self.noise, dtype=z.dtype, device=z.device) - 1

    def forward(self, x: Tensor, *, step: int, N: int, x_extra: Tensor | None = None, h: Tensor | None = None) -> Draw:
        """Encode the images, draw one code for each and decode it.

        `x_extra` (B', C, H, W) is only encoded, for objectives that permute codes. `h` are the `outputs` for `x`, if
        they are already computed.
        """
        qz_x: Distribution = self.posterior(self.outputs(x) if h is None else h)
        z = qz_x.rsample()
        if x_extra is None or len(x_extra) == 0:
            z_extra = z.new_zeros(0, z.shape[1])
        else:
            with torch.no_grad():
                z_extra = self.encode(x_extra).rsample()  # equals sample(), which for a Normal waits for the device
        return Draw(x, z, qz_x, self.prior(), self.decode(z), step, N, z_extra)
