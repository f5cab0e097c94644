"""Rotating the codes leaves KL(q || N(0, I)) alone and moves the KL to every other prior; Mathieu 2019, theorem 2."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal

from disvae.posterior.full_gaussian import FullGaussian
from disvae.posterior.isotropic import Isotropic
from disvae.prior import Prior
from disvae.prior.anisotropic import Anisotropic
from disvae.prior.gaussian import Gaussian
from disvae.prior.laplace import Laplace
from disvae.prior.mixture import Mixture
from disvae.prior.sparse import Sparse
from disvae.prior.student_t import StudentT


def pinwheel() -> Mixture:
    return Mixture(2, components=4, separation=1.0, means=None, scale=0.1732, learn=False)


def turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s], [s, c]], dtype=torch.float64)


def change_of_kl(prior: Prior, h: Tensor, R: Tensor) -> float:
    """|KL(q rotated || p) - KL(q || p)|, both from the same samples, so it is exact where it should be 0."""
    torch.manual_seed(0)
    q = FullGaussian(len(R), link="exp")(h)
    rotated = MultivariateNormal(q.mean @ R.T, R @ q.covariance_matrix @ R.T)
    pz = prior.double()()
    z = q.sample((4000,))  # (4000, 1, D)
    before = (q.log_prob(z) - pz.log_prob(z)).mean()
    after = (rotated.log_prob(z @ R.T) - pz.log_prob(z @ R.T)).mean()
    return (after - before).abs().item()


H = torch.tensor([[1.0, 0.1, -2.0, -3.0, 0.5]], dtype=torch.float64)  # a mean near an axis, a tilted covariance


@settings(max_examples=20, deadline=None)
@given(z_dim=st.integers(1, 10), seed=st.integers(0, 1000))
def test_the_isotropic_gaussian_does_not_see_a_rotation(z_dim, seed):
    generator = torch.Generator().manual_seed(seed)
    R = torch.linalg.qr(torch.randn(z_dim, z_dim, generator=generator).double()).Q
    h = torch.randn(1, FullGaussian(z_dim, link="exp").size, generator=generator).double()
    assert change_of_kl(Gaussian(z_dim), h, R) < 1e-8


@pytest.mark.parametrize(
    "prior",
    [
        Anisotropic(2, variances=[4.0, 1.0], mean_variance=1.0, learn=False),
        StudentT(2, df=3.0, scale=1.0, learn_df=False),
        Laplace(2, scale=1.0),
        Sparse(2, gamma=0.8, spike=0.05, slab=1.0),
        pinwheel(),
    ],
    ids=lambda prior: type(prior).__name__,
)
def test_every_other_prior_does(prior):
    assert change_of_kl(prior, H, turn(math.pi / 4)) > 1e-2


@pytest.mark.parametrize(
    "prior", [StudentT(2, df=3.0, scale=1.0, learn_df=False), Sparse(2, gamma=0.8, spike=0.05, slab=1.0), pinwheel()],
    ids=lambda prior: type(prior).__name__,
)  # fmt: skip
def test_but_not_a_quarter_turn_that_only_renames_the_axes(prior):
    assert change_of_kl(prior, H, turn(math.pi / 2)) < 1e-5


def test_the_tails_of_a_student_t_see_a_rotation_more_the_heavier_they_are():
    changes = [change_of_kl(StudentT(2, df=df, scale=1.0, learn_df=False), H, turn(math.pi / 4)) for df in (1e6, 30, 3)]
    assert changes == sorted(changes)
    assert changes[0] < 1e-5


def test_rotating_an_isotropic_posterior_stays_isotropic():
    q = Isotropic(2, link="exp")(torch.tensor([[1.0, 0.2, -1.0]], dtype=torch.float64))
    R = turn(0.7)
    covariance = R @ q.variance.diag_embed() @ R.T
    assert torch.allclose(covariance, math.exp(-1.0) * torch.eye(2, dtype=torch.float64))
