"""A linear VAE of eight pixels and three latents, small enough to know by hand."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Bernoulli, Distribution, Independent, Normal

from disvae.vae import Draw


class Linear(nn.Module):
    """Encoder and decoder of one layer each; `prior_log_scale` is learnt."""

    def __init__(self, D: int = 3, pixels: int = 8) -> None:
        super().__init__()
        self.encoder = nn.Linear(pixels, 2 * D)
        self.decoder = nn.Linear(D, pixels)
        self.prior_log_scale = nn.Parameter(torch.zeros(D))

    def prior(self) -> Distribution:
        return Independent(Normal(torch.zeros_like(self.prior_log_scale), self.prior_log_scale.exp()), 1)

    def encode(self, x: Tensor) -> Distribution:
        loc, log_scale = self.encoder(x.flatten(1)).chunk(2, 1)
        return Independent(Normal(loc, log_scale.exp()), 1)

    def decode(self, z: Tensor) -> Distribution:
        return Independent(Bernoulli(logits=self.decoder(z).reshape(len(z), 1, 2, -1), validate_args=False), 3)

    def forward(self, x: Tensor, *, pz: Distribution | None = None, **settings: Any) -> Draw:
        qz_x = self.encode(x)
        z = qz_x.rsample()
        own = {"step": 0, "N": 1000, "z_extra": z.detach().flip(0)}
        plain = {name: value for name, value in settings.items() if name in own}  # of Draw, not what is only encoded
        return Draw(x, z, qz_x, pz or self.prior(), self.decode(z), **own | plain)

    def gradients(self) -> dict[str, Tensor]:
        return {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in self.named_parameters()}


@pytest.fixture
def vae() -> Linear:
    """Fresh and seeded."""
    torch.manual_seed(0)
    return Linear()


@pytest.fixture
def draw(vae: Linear) -> Callable[..., Draw]:
    """A Draw of 32 seeded images, the same noise each time."""
    x = torch.rand(32, 1, 2, 4, generator=torch.Generator().manual_seed(1)).round()

    def make(**settings: Any) -> Draw:
        torch.manual_seed(2)
        return vae(x, **settings)

    return make


@pytest.fixture
def gradients(vae: Linear, draw: Callable[..., Draw]) -> Callable[..., dict[str, Tensor]]:
    """Gradients of an objective's term, `loss` unless named, in the VAE's parameters."""

    def make(objective: nn.Module, term: str = "loss", **settings: Any) -> dict[str, Tensor]:
        vae.zero_grad()
        passed = draw(**settings)
        torch.manual_seed(3)
        objective(passed)[term].backward()
        return vae.gradients()

    return make
