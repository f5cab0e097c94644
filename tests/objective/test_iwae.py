"""IWAE on a linear-Gaussian model, whose log p(x) is known: the bound grows with K and is exact for the true q."""

import pytest
import torch
from torch import nn
from torch.distributions import Independent, MultivariateNormal, Normal

from disvae.dataset.batches import Batch
from disvae.objective.iwae import IWAE
from disvae.objective.vae import ELBO
from disvae.vae import VAE

W = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])  # x = W z + noise of standard deviation SIGMA
SIGMA = 0.5
X = torch.randn(50, 3, 1, 1, generator=torch.Generator().manual_seed(0))


class Around(nn.Module):
    """A Gaussian of a fixed width around its input, with the input's event axes."""

    def __init__(self, scale: torch.Tensor) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, loc):
        return Independent(Normal(loc, self.scale.view(-1, *[1] * (loc.dim() - 2)).expand_as(loc)), loc.dim() - 1)


class StandardNormal(nn.Module):
    def forward(self):
        return Independent(Normal(torch.zeros(2), torch.ones(2)), 1)


class LinearModel(nn.Module):
    """The true posterior means of z, from which `offset` leads away, and the images of codes."""

    def __init__(self, offset: float) -> None:
        super().__init__()
        precision = torch.eye(2) + W.T @ W / SIGMA**2
        self.encoder = lambda x: x.flatten(1) @ W @ torch.linalg.inv(precision) / SIGMA**2 + offset
        self.decoder = lambda z: (z @ W.T)[:, :, None, None]
        self.scale = precision.diagonal().rsqrt()  # W has orthogonal columns, so that the posterior factorises


def linear(offset):
    model = LinearModel(offset)
    return VAE(model, StandardNormal(), Around(model.scale), Around(torch.full((3,), SIGMA)))


def bound(vae, objective):
    torch.manual_seed(0)
    return objective(objective.draw(vae, Batch(X, X[:0]), step=0, N=100))


def evidence():
    cov = W @ W.T + SIGMA**2 * torch.eye(3)
    return MultivariateNormal(torch.zeros(3), cov).log_prob(X.flatten(1)).mean()


@pytest.mark.parametrize("K", [1, 2, 7])
def test_the_bound_is_exact_under_the_true_posterior(K):
    torch.testing.assert_close(bound(linear(0.0), IWAE(K))["iwae_bound"], evidence(), rtol=1e-5, atol=1e-5)


def test_the_bound_grows_with_samples_towards_the_evidence():
    bounds = [float(bound(linear(0.3), IWAE(K))["iwae_bound"]) for K in (1, 4, 32, 1000)]
    assert bounds == sorted(bounds)
    assert bounds[0] < evidence() - 0.3
    assert abs(bounds[-1] - evidence()) < 0.02


def test_one_sample_is_the_vae_with_a_sampled_kl():
    vae = linear(0.3)
    draw = IWAE(1).draw(vae, Batch(X, X[:0]), step=0, N=100)
    sampled = draw.px_z.log_prob(X) + draw.pz.log_prob(draw.z) - draw.qz_x.log_prob(draw.z)
    torch.testing.assert_close(IWAE(1)(draw)["loss"], -sampled.mean())
    assert bound(vae, IWAE(3)).keys() - bound(vae, ELBO()).keys() == {"iwae_bound"}


def test_the_number_of_samples_is_positive():
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        IWAE(0)
