"""min_G,Q max_D E log D(x) + E log(1 - D(G(c, e))) - lambda E[log q(c|G(c, e)) - log r(c)]: Chen X. et al. 2016, eq. 6.

The decoder is G, the encoder D and Q with one trunk: its first output is the logit of D, the posterior reads the
others. G minimises -log D(G), as in the released code. One backward pass trains all: D and Q see generated images
without their gradient, G sees D and Q with detached weights. The information is in the losses of both sides, since Q
lives in the trunk of D.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.func import functional_call
from torch.nn.functional import softplus

from disvae.dataset.batches import Batch
from disvae.distribution.joint import Joint, OneHot
from disvae.estimators import factorised
from disvae.objective import Objective
from disvae.vae import VAE, Draw


@dataclass(frozen=True)
class Game(Draw):
    """Real images, and images generated from codes `z` of the prior, with what D and Q say of them."""

    real: Tensor  # (B,): logits of D for x
    generated: Tensor  # (B,): logits for the generated images, from which D learns
    judged: Tensor  # (B,): the same logits, from which G learns
    qz_generated: Distribution  # q(c|generated), from which Q learns
    qz_judged: Distribution  # the same, from which G learns
    unit: bool  # whether the Gaussian codes of the posterior have variance 1
    learnt: bool  # whether training changes the prior


class InfoGAN(Objective):
    """A GAN whose generator is told codes that its images must reveal; it has no ELBO, and codes are means of q(c|x).

    It needs a posterior whose latents match those of the prior one by one. There is no density of the images.
    """

    encoder_outputs = 1
    least_batch = 2  # of batch normalisation
    best = "information"
    without_elbo = (
        "the run was trained without an ELBO (infogan): q(z|x) is a regression of the codes and images have no density"
    )

    def __init__(self, *, weight: float, noise: int, discriminator_lr: float) -> None:
        super().__init__()
        if not weight >= 0:
            raise ValueError(f"weight must be non-negative, got {weight}")
        if not 0 <= noise <= 100_000:
            raise ValueError(f"noise must be from 0 to 100,000, got {noise}")
        if not discriminator_lr > 0:
            raise ValueError(f"discriminator_lr must be positive, got {discriminator_lr}")
        self.weight = weight
        self.noise = noise
        self.discriminator_lr = discriminator_lr

    def groups(self, vae: VAE) -> list[dict[str, Any]]:
        """Return the group of the generator, and that of encoder and posterior with a learning rate of its own."""
        theirs = [*vae.model.encoder.parameters(), *vae.posterior.parameters()]
        known = {id(parameter) for parameter in theirs}
        return [
            {"params": [parameter for parameter in vae.parameters() if id(parameter) not in known]},
            {"params": theirs, "lr": self.discriminator_lr},
        ]

    def draw(self, vae: VAE, batch: Batch, *, step: Any, N: int) -> Game:
        """Return the batch, as many images generated from the prior, and what the encoder says of both."""
        pz = vae.prior()
        z = pz.sample((len(batch.x),))
        px_z = vae.decode(z, vae.draw_noise(z))
        images = px_z.mean
        h_real, h_generated = vae.model.encoder(batch.x), vae.model.encoder(images.detach())
        h_judged = _detached(vae.model.encoder, images)
        return Game(
            batch.x,
            z,
            vae.posterior(h_real[:, 1:]),
            pz,
            px_z,
            step,
            N,
            z.new_zeros(0, z.shape[1]),
            real=h_real[:, 0],
            generated=h_generated[:, 0],
            judged=h_judged[:, 0],
            qz_generated=vae.posterior(h_generated[:, 1:]),
            qz_judged=_detached(vae.posterior, h_judged[:, 1:]),
            unit=vae.posterior.unit,
            learnt=vae.prior.from_codes or any(True for _ in vae.prior.parameters()),
        )

    def check(self, draw: Draw) -> None:
        """Raise ValueError unless the prior is fixed, and consists of the same kinds of codes as the posterior."""
        assert isinstance(draw, Game)
        if draw.learnt:
            raise ValueError("prior must be fixed for objective=infogan, since no ELBO teaches it: type prior=uniform")
        draw.qz_generated.log_prob(draw.z)  # raises for a point, which has no density
        kinds = [[part.event_shape[0] for part in _parts(dist)] for dist in (draw.pz, draw.qz_generated)]
        if kinds[0] != kinds[1]:
            raise ValueError(
                f"posterior must have the parts of the prior, of {kinds[0]} latents, for objective=infogan, got "
                f"{kinds[1]}: type prior=uniform posterior=joint"
            )

    def forward(self, draw: Draw) -> dict[str, Tensor]:
        """Return the summed loss of both sides, and its terms; neither side passes a gradient to the other."""
        assert isinstance(draw, Game)
        information, judged = (self.information(draw, q) for q in (draw.qz_generated, draw.qz_judged))
        of_discriminator = (softplus(-draw.real) + softplus(draw.generated)).mean()
        of_generator = softplus(-draw.judged).mean()
        loss = of_discriminator + of_generator - self.weight * (information.sum() + judged.sum())
        on_real, on_generated = ((logits > 0).float().mean() for logits in (draw.real, -draw.generated))
        terms = {
            "loss": loss,
            "information": information.sum(),
            "information_per_code": information,
            "discriminator_loss": of_discriminator,
            "generator_loss": of_generator,
            "accuracy_on_real": on_real,
            "accuracy_on_generated": on_generated,
            "discriminator_accuracy": (on_real + on_generated) / 2,
        }
        ceiling = self._ceiling(draw)
        return terms if ceiling is None else {**terms, "information_ceiling": ceiling}

    def information(self, draw: Game, q: Distribution) -> Tensor:
        """Return E[log q(c|image) - log r(c)] in nats for each code (K,), a category being one code.

        r is the prior, which makes the sum a lower bound on I(c; image). For a Gaussian of variance 1, whose bound
        would be below zero, r is N(0, 1), as in the released code.
        """
        found = []
        for of_q, of_p, c in zip(_parts(q), _parts(draw.pz), _slices(draw.pz, draw.z), strict=True):
            q_d, p_d = factorised(of_q), factorised(of_p)
            if q_d is None or p_d is None:
                found.append((of_q.log_prob(c) - of_p.log_prob(c)).mean(0, keepdim=True))
            else:
                r = Normal(torch.zeros_like(c), torch.ones_like(c), validate_args=False) if draw.unit else p_d
                found.append((q_d.log_prob(c) - r.log_prob(c)).mean(0))
        return torch.cat(found)

    def _ceiling(self, draw: Game) -> Tensor | None:
        """Return the largest value of the information in nats: E c^2 / 2 a code of unit variance, log K a category.

        It is None if there is none, because a variance is learnt.
        """
        total = draw.z.new_zeros(())
        for part in _parts(draw.pz):
            p_d = factorised(part)
            if isinstance(part, OneHot):
                total = total + math.log(part.event_shape[0])
            elif p_d is None or not draw.unit:
                return None
            else:
                total = total + 0.5 * (p_d.variance + p_d.mean.square()).sum()
        return total


def _parts(dist: Distribution) -> tuple[Distribution, ...]:
    return dist.parts if isinstance(dist, Joint) else (dist,)


def _slices(dist: Distribution, z: Tensor) -> tuple[Tensor, ...]:
    return dist.split(z) if isinstance(dist, Joint) else (z,)


def _detached(network: nn.Module, x: Tensor) -> Any:
    """Return what `network` makes of `x`; gradients reach `x` and never the network."""
    return functional_call(network, {name: p.detach() for name, p in network.named_parameters()}, (x,))
