"""KL(q || p) in nats of Gaussian posteriors to each prior, against known values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate
from torch.distributions import Distribution, Independent, Normal, kl_divergence

from disvae.prior.anisotropic import Anisotropic
from disvae.prior.gaussian import Gaussian
from disvae.prior.mixture import Mixture
from disvae.prior.sparse import Sparse
from disvae.prior.student_t import StudentT


def pinwheel() -> Mixture:
    return Mixture(2, components=4, separation=1.0, means=None, scale=math.sqrt(0.03), learn=False).double()


def q_of(loc: list[float], std: list[float]) -> Independent:
    return Independent(Normal(torch.tensor(loc).double(), torch.tensor(std).double()), 1)


def by_quadrature(q: Distribution, p: Distribution) -> float:
    """One latent; the breakpoints resolve a spike at 0."""
    loc, std = q.mean.item(), q.stddev.item()

    def integrand(z: float) -> float:
        at = torch.tensor([z], dtype=torch.float64)
        log_q = q.log_prob(at).item()
        return math.exp(log_q) * (log_q - p.log_prob(at).item())

    points = [t for t in (-0.3, -0.1, 0, 0.1, 0.3, loc) if abs(t - loc) < 12 * std]
    return integrate.quad(integrand, loc - 12 * std, loc + 12 * std, points=points, limit=400, epsabs=1e-10)[0]


def by_sampling(q: Distribution, p: Distribution) -> float:
    torch.manual_seed(0)
    z = q.sample((1_000_000,))
    return (q.log_prob(z) - p.log_prob(z)).mean().item()


@given(
    loc=st.lists(st.floats(-5, 5), min_size=1, max_size=20),
    log_std=st.floats(-5, 2),
    tilt=st.floats(0, 2),
)
@settings(max_examples=40, deadline=None)
def test_gaussian_kl_follows_the_formula(loc, log_std, tilt):
    D = len(loc)
    s = torch.full((D,), math.exp(log_std)).double()
    variances = [math.exp(tilt * d / D) for d in range(D)]
    for prior in (Gaussian(D), Anisotropic(D, variances=variances, mean_variance=1.3, learn=False)):
        pz = prior.double()()
        t, m = pz.stddev, torch.tensor(loc).double()
        expected = ((t / s).log() + (s**2 + m**2) / (2 * t**2) - 0.5).sum()
        assert torch.allclose(kl_divergence(q_of(loc, s.tolist()), pz), expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("df", "expected"), [(3, 0.991869), (9, 0.914160), (30, 0.886099), (1e6, 0.873973)])
def test_kl_to_a_student_t(df, expected):
    q, p = q_of([0.5], [0.3]), StudentT(1, df=df, scale=1.0, learn_df=False).double()()
    assert by_quadrature(q, p) == pytest.approx(expected, abs=2e-6)
    assert by_sampling(q, p) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("loc", "std", "expected"), [(0.5, 0.3, 2.161045), (0, 0.05, 0.191245), (1.5, 0.1, 4.542023), (0, 1, 1.241539)]
)
def test_kl_to_the_sparse_prior(loc, std, expected):
    q, p = q_of([float(loc)], [float(std)]), Sparse(1, gamma=0.8, spike=0.05, slab=1.0).double()()
    assert by_quadrature(q, p) == pytest.approx(expected, abs=2e-6)
    assert by_sampling(q, p) == pytest.approx(expected, abs=5e-3)


@pytest.mark.parametrize(
    ("loc", "std", "expected"),
    [([0.0, 1.0], [math.sqrt(0.03)] * 2, 1.38616), ([0.9, 0.1], [0.1, 0.2], 1.9579)],
)
def test_kl_to_the_pinwheel_mixture(loc, std, expected):
    q, p = q_of(loc, std), pinwheel()()
    nodes, weights = np.polynomial.hermite_e.hermegauss(64)
    grid = torch.from_numpy(np.stack(np.meshgrid(nodes, nodes), -1).reshape(-1, 2))
    z = q.mean + q.stddev * grid
    weight = torch.from_numpy(np.outer(weights, weights).ravel() / (2 * math.pi))
    assert (weight * (q.log_prob(z) - p.log_prob(z))).sum().item() == pytest.approx(expected, abs=5e-5)
    assert by_sampling(q, p) == pytest.approx(expected, abs=5e-3)


def test_one_mixture_component_costs_almost_the_log_of_their_number():
    q = q_of([0.0, 1.0], [math.sqrt(0.03)] * 2)
    assert by_sampling(q, pinwheel()()) == pytest.approx(math.log(4), abs=5e-3)


def test_the_mixture_counts_its_density_once_not_once_per_latent():
    """A known mistake adds log p(z) for each of D latents; a joint density of (N, D) codes is (N,)."""
    p = pinwheel()()
    z = torch.tensor([[0.0, 1.0]]).double()
    alone = q_of([0.0, 1.0], [math.sqrt(0.03)] * 2).log_prob(z) - math.log(4)
    assert p.log_prob(z).shape == (1,)
    assert torch.allclose(p.log_prob(z), alone, atol=1e-6)
