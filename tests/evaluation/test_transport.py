"""The map to the Gaussian: exact quantiles, both tails, order kept."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Independent, MixtureSameFamily, Normal, Uniform

from disvae.evaluation.transport import to_gaussian
from disvae.prior.anisotropic import Anisotropic
from disvae.prior.gaussian import Gaussian
from disvae.prior.laplace import Laplace
from disvae.prior.mixture import Mixture
from disvae.prior.sparse import Sparse
from disvae.prior.student_t import StudentT

PRIORS = {
    "student_t": StudentT(3, df=3, scale=0.7, learn_df=True),
    "laplace": Laplace(3, scale=2.0),
    "sparse": Sparse(3, gamma=0.8, spike=0.05, slab=1.0),
    "slab": Sparse(3, gamma=0.0, spike=0.05, slab=1.0),
}


@pytest.mark.parametrize("name", PRIORS)
def test_samples_of_the_prior_become_standard_normal(name):
    torch.manual_seed(1)
    prior = PRIORS[name]()
    moved = to_gaussian(prior.sample((20_000,)).numpy(), prior)
    assert moved is not None
    assert moved.dtype == np.float32
    for latent in moved.T:
        assert stats.kstest(latent, "norm").pvalue > 0.001


@pytest.mark.parametrize("name", PRIORS)
def test_the_map_is_monotone_odd_and_finite_far_into_both_tails(name):
    half = np.logspace(-6, 3, 400)
    z = np.concatenate([-half[::-1], [0.0], half])[:, None].repeat(3, axis=1)
    moved = to_gaussian(z, PRIORS[name]())
    assert moved is not None
    assert np.isfinite(moved).all()
    assert (np.diff(moved, axis=0) > 0).all()
    np.testing.assert_allclose(moved, -moved[::-1], atol=1e-9)


def test_quantiles_are_those_of_scipy():
    z = np.array([[-40.0], [-3.0], [0.2], [5.0], [300.0]])
    t = to_gaussian(z, StudentT(1, df=3, scale=0.5, learn_df=False)())
    np.testing.assert_allclose(t[:3], stats.norm.ppf(stats.t.cdf(z[:3], 3, scale=0.5)), rtol=1e-5)
    np.testing.assert_allclose(t[2:], stats.norm.isf(stats.t.sf(z[2:], 3, scale=0.5)), rtol=1e-5)
    laplace = to_gaussian(z[1:4], Laplace(1, scale=2.0)())
    np.testing.assert_allclose(laplace, stats.norm.ppf(stats.laplace.cdf(z[1:4], scale=2.0)), rtol=1e-6)
    sparse = to_gaussian(z[1:3], Sparse(1, gamma=0.8, spike=0.05, slab=1.0)())
    cdf = 0.8 * stats.norm.cdf(z[1:3] / 0.05) + 0.2 * stats.norm.cdf(z[1:3])
    np.testing.assert_allclose(sparse, stats.norm.ppf(cdf), rtol=1e-6)


def test_the_slab_alone_is_the_identity():
    z = np.array([[-12.0, 0.3, 25.0]])
    np.testing.assert_allclose(to_gaussian(z, PRIORS["slab"]()), z, rtol=1e-6)


def test_each_latent_has_its_own_law():
    prior = Independent(torch.distributions.Laplace(torch.tensor([0.0, 5.0]), torch.tensor([1.0, 3.0])), 1)
    moved = to_gaussian(np.array([[0.0, 5.0], [1.0, 8.0]]), prior)
    np.testing.assert_allclose(moved[0], [0, 0], atol=1e-12)
    assert moved[1, 0] == pytest.approx(moved[1, 1])
    assert moved[1, 0] == pytest.approx(stats.norm.isf(np.exp(-1) / 2))


def test_a_gaussian_prior_needs_no_map():
    codes = np.ones((4, 2))
    assert to_gaussian(codes, Gaussian(2)()) is None
    prior = Anisotropic(2, variances=[1.0, 4.0], mean_variance=1.0, learn=True)
    assert to_gaussian(codes, prior()) is None


def test_a_prior_without_a_map_is_named():
    mixture = Mixture(2, components=2, separation=1.0, means=None, scale=0.2, learn=False)
    with pytest.raises(ValueError, match=r"must factorise over latents .* got MixtureSameFamily"):
        to_gaussian(np.ones((4, 2)), mixture())
    with pytest.raises(ValueError, match="got Uniform"):
        to_gaussian(np.ones((4, 2)), Independent(Uniform(torch.zeros(2), torch.ones(2)), 1))
    uniforms = MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2, 2)), Uniform(torch.zeros(2, 2), torch.ones(2, 2))
    )
    with pytest.raises(ValueError, match="got MixtureSameFamily"):
        to_gaussian(np.ones((4, 2)), Independent(uniforms, 1))
    assert isinstance(PRIORS["sparse"]().base_dist.component_distribution, Normal)
