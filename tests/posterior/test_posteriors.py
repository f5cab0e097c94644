"""Every posterior: densities of scipy, reparameterised gradients, finite values for wild encoder outputs."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.distributions import MultivariateNormal, kl_divergence

from disvae.posterior import Posterior
from disvae.posterior.full_gaussian import FullGaussian
from disvae.posterior.gaussian import Gaussian
from disvae.posterior.isotropic import Isotropic
from disvae.posterior.laplace import Laplace
from disvae.posterior.student_t import StudentT

POSTERIORS: dict[str, Callable[[int, str], Posterior]] = {
    "gaussian": lambda D, link: Gaussian(D, link=link),
    "isotropic": lambda D, link: Isotropic(D, link=link),
    "full_gaussian": lambda D, link: FullGaussian(D, link=link),
    "laplace": lambda D, link: Laplace(D, link=link),
    "student_t": lambda D, link: StudentT(D, df=5.0, learn_df=False, link=link),
    "learnt student_t": lambda D, link: StudentT(D, df=5.0, learn_df=True, link=link),
}
FACTORISED = ["gaussian", "isotropic", "laplace", "student_t"]
LINKS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "exp": lambda h: np.exp(h / 2),
    "softplus": lambda h: np.logaddexp(0, h) + 1e-6,
}
each_posterior = pytest.mark.parametrize("name", POSTERIORS)
each_link = pytest.mark.parametrize("link", LINKS)


def output(batch: int, size: int, *, seed: int = 0, span: float = 2.0) -> torch.Tensor:
    """Encoder outputs uniform in [-span, span], float64."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.rand(batch, size, generator=generator, dtype=torch.float64) - 1) * span


@each_posterior
@each_link
@settings(max_examples=15, deadline=None)
@given(z_dim=st.integers(1, 20), batch=st.integers(1, 5), seed=st.integers(0, 10_000), span=st.floats(0, 30))
def test_one_distribution_per_image_finite_for_wild_outputs(name, link, z_dim, batch, seed, span):
    posterior = POSTERIORS[name](z_dim, link)
    h = output(batch, posterior.size, seed=seed, span=span).float().requires_grad_()
    torch.manual_seed(seed)
    q = posterior(h)
    assert q.batch_shape == (batch,)
    assert q.event_shape == (z_dim,)
    z = q.rsample()
    assert z.shape == (batch, z_dim)
    if isinstance(
        q, MultivariateNormal
    ):  # its density at a sample is only as good as the conditioning; its KL is closed
        prior = MultivariateNormal(torch.zeros(z_dim), torch.eye(z_dim))
        values = kl_divergence(q, prior)
    else:
        values = q.log_prob(z)
    assert values.shape == (batch,)
    assert values.isfinite().all()
    assert z.isfinite().all()
    assert q.entropy().isfinite().all()
    (gradient,) = torch.autograd.grad(values.sum() + q.entropy().sum() + z.sum(), h)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", FACTORISED)
@each_link
@pytest.mark.parametrize("corner", [-60.0, -30.0, 30.0, 60.0])
def test_densities_are_finite_at_the_corners(name, link, corner):
    posterior = POSTERIORS[name](4, link)
    h = torch.full((2, posterior.size), corner, requires_grad=True)
    torch.manual_seed(0)
    q = posterior(h)
    value = q.log_prob(q.rsample()).sum()
    (gradient,) = torch.autograd.grad(value, h)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", FACTORISED)
@each_link
def test_density_is_that_of_scipy(name, link):
    posterior = POSTERIORS[name](3, link).double()
    h = output(4, posterior.size)
    z = output(4, 3, seed=1)
    loc, scale = h[:, :3].numpy(), LINKS[link](h[:, 3:].numpy())
    textbook = {
        "gaussian": lambda: stats.norm.logpdf(z, loc, scale),
        "isotropic": lambda: stats.norm.logpdf(z, loc, scale),  # (4, 1) for all latents
        "laplace": lambda: stats.laplace.logpdf(z, loc, scale),
        "student_t": lambda: stats.t.logpdf(z, posterior.df.item(), loc, scale),
    }[name]()
    assert posterior(h).log_prob(z).tolist() == pytest.approx(textbook.sum(1).tolist(), rel=1e-9)


@each_link
def test_full_gaussian_density_is_that_of_scipy(link):
    posterior = FullGaussian(3, link=link)
    assert posterior.size == 3 + 6
    h = output(4, 9)
    z = output(4, 3, seed=1)
    for row, at, log_q in zip(h.numpy(), z.numpy(), posterior(h).log_prob(z).tolist(), strict=True):
        unit = np.eye(3)
        unit[1, 0], unit[2, 0], unit[2, 1] = row[6:]
        factor = np.diag(LINKS[link](row[3:6])) @ unit
        assert log_q == pytest.approx(stats.multivariate_normal.logpdf(at, row[:3], factor @ factor.T), rel=1e-9)


def test_full_gaussian_can_be_any_gaussian():
    """The encoder output that gives a covariance is found from its Cholesky factor."""
    A = output(5, 5)
    covariance = A @ A.T + 0.1 * torch.eye(5, dtype=torch.float64)
    factor = torch.linalg.cholesky(covariance)
    std = factor.diagonal()
    rows, columns = torch.tril_indices(5, 5, -1)
    h = torch.cat([torch.zeros(5).double(), 2 * std.log(), (factor / std[:, None])[rows, columns]])[None]
    assert torch.allclose(FullGaussian(5, link="exp")(h).covariance_matrix[0], covariance)


def test_full_gaussian_without_correlations_is_the_diagonal_gaussian():
    h = output(3, 8)
    full = FullGaussian(4, link="exp")(torch.cat([h, torch.zeros(3, 6).double()], dim=1))
    z = output(3, 4, seed=1)
    assert torch.allclose(full.log_prob(z), Gaussian(4, link="exp")(h).log_prob(z))


@pytest.mark.parametrize("name", FACTORISED)
def test_gradient_of_a_sample_is_the_pathwise_one(name):
    """z = mu + exp(h / 2) eps, so dz/dmu = 1 and dz/dh = (z - mu) / 2."""
    posterior = POSTERIORS[name](3, "exp").double()
    h = output(4, posterior.size).requires_grad_()
    z = posterior(h).rsample()
    (gradient,) = torch.autograd.grad(z.sum(), h)
    assert torch.equal(gradient[:, :3], torch.ones(4, 3).double())
    half = (z - h[:, :3]) / 2
    assert torch.allclose(gradient[:, 3:], half.sum(1, keepdim=True) if name == "isotropic" else half)


def test_gradient_of_a_full_sample_reaches_every_number_of_the_encoder():
    posterior = FullGaussian(4, link="softplus")
    h = output(2, posterior.size).requires_grad_()
    (gradient,) = torch.autograd.grad(posterior(h).rsample().square().sum(), h)
    assert (gradient != 0).all()


@each_posterior
@each_link
def test_samples_have_the_mean_and_deviation_of_the_distribution(name, link):
    torch.manual_seed(0)
    posterior = POSTERIORS[name](2, link)
    q = posterior(output(1, posterior.size, seed=3).float())
    with torch.no_grad():
        z = q.rsample((400_000,))
        std = q.variance.sqrt()
        assert torch.allclose(z.mean(0), q.mean, atol=0.02 * std.max().item())
        assert torch.allclose(z.std(0), std, rtol=0.03)


@each_link
def test_isotropic_is_the_gaussian_with_equal_scales(link):
    h = output(3, 5)
    equal = torch.cat([h[:, :4], h[:, 4:].expand(3, 4)], dim=1)
    z = output(3, 4, seed=1)
    assert torch.allclose(Isotropic(4, link=link)(h).log_prob(z), Gaussian(4, link=link)(equal).log_prob(z))


def test_an_output_of_zeros_is_the_standard_normal_with_link_exp():
    q = Gaussian(3, link="exp")(torch.zeros(2, 6))
    assert q.mean.eq(0).all()
    assert q.stddev.eq(1).all()
    assert q.entropy().tolist() == pytest.approx([1.5 * math.log(2 * math.pi * math.e)] * 2)  # nats


def test_degrees_of_freedom_are_learnt_from_data_seen_through_the_density():
    z = torch.from_numpy(np.random.default_rng(0).standard_t(3.0, (40_000, 1))).float()
    posterior = StudentT(1, df=15.0, learn_df=True, link="exp")
    optimizer = torch.optim.Adam(posterior.parameters(), lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        (-posterior(torch.zeros(1, 2)).log_prob(z).mean()).backward()
        optimizer.step()
    assert posterior.df.item() == pytest.approx(3.0, rel=0.08)


@pytest.mark.parametrize("learn_df", [False, True])
def test_degrees_of_freedom_travel_with_the_checkpoint(learn_df):
    source, target = (StudentT(2, df=df, learn_df=learn_df, link="exp") for df in (3.0, 30.0))
    target.load_state_dict(source.state_dict())
    assert target.df.item() == pytest.approx(3.0)
    assert len(list(source.parameters())) == learn_df


@each_posterior
def test_an_unknown_link_is_refused(name):
    with pytest.raises(ValueError, match="link must be exp or softplus, got log"):
        POSTERIORS[name](2, "log")


def test_degrees_of_freedom_must_be_positive():
    with pytest.raises(ValueError, match="df must be positive, got 0"):
        StudentT(2, df=0.0, learn_df=False, link="exp")
