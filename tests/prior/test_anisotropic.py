"""Principal variances of images, and the mean variance that stays."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from disvae.prior.anisotropic import Anisotropic, principal_variances


@pytest.mark.parametrize("n", [200, 24, 20])  # more images than pixels, as many and fewer
def test_principal_variances_are_those_of_numpy(n):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(n, 2, 3, 4)) * np.linspace(0.1, 2, 24).reshape(2, 3, 4) + 5
    expected = np.linalg.eigvalsh(np.cov(images.reshape(n, 24).T))[::-1][:10]
    for rows in (7, 4096):  # chunks change nothing
        assert np.allclose(principal_variances(torch.from_numpy(images), 10, rows), expected, rtol=1e-12)


def test_a_bright_background_is_no_principal_component():
    torch.manual_seed(0)
    images = torch.rand(300, 1, 4, 4)
    assert torch.allclose(principal_variances(images, 5), principal_variances(images + 100, 5), rtol=1e-4)


def test_variances_are_in_the_ratios_of_known_directions():
    """Images made of three orthogonal patterns with variances 4, 2 and 1."""
    torch.manual_seed(0)
    patterns = torch.linalg.qr(torch.randn(64, 3)).Q  # (64, 3)
    weights = torch.linalg.qr(torch.randn(500, 4)).Q
    weights = weights - weights.mean(0)
    weights = torch.linalg.qr(weights).Q[:, :3] * torch.tensor([4.0, 2.0, 1.0]).sqrt()  # centred, uncorrelated
    prior = Anisotropic(3, variances="pca", mean_variance=1.0, learn=False)
    prior.initialise((weights @ patterns.T).reshape(500, 1, 8, 8) + 0.5)
    assert prior().variance.tolist() == pytest.approx([12 / 7, 6 / 7, 3 / 7], rel=1e-4)


def test_pca_is_not_a_number_before_it_has_seen_images():
    assert Anisotropic(3, variances="pca", mean_variance=1.0, learn=False)().variance.isnan().all()


def test_images_leave_given_variances_alone():
    prior = Anisotropic(2, variances=[3.0, 1.0], mean_variance=1.0, learn=False)
    prior.initialise(torch.rand(20, 1, 4, 4))
    assert prior().variance.tolist() == pytest.approx([1.5, 0.5])


def test_more_latents_than_the_images_have_directions_are_refused_with_what_to_type():
    prior = Anisotropic(3, variances="pca", mean_variance=1.0, learn=False)
    with pytest.raises(ValueError, match=r"z_dim must be at most 2 .* got 3: type prior.variances=equal"):
        prior.initialise(torch.rand(50, 1, 1, 2))
    with pytest.raises(ValueError, match="z_dim must be at most 2"):
        prior.initialise(torch.rand(3, 1, 4, 4))  # three points lie in a plane
    with pytest.raises(ValueError, match="z_dim must be at most 1"):
        prior.initialise(torch.eye(2).reshape(2, 1, 1, 2).repeat(1, 1, 4, 1))


@settings(max_examples=30, deadline=None)
@given(
    z_dim=st.integers(1, 20),
    mean_variance=st.floats(0.01, 100),
    seed=st.integers(0, 1000),
)
def test_the_mean_variance_stays_whatever_is_given_or_learnt(z_dim, mean_variance, seed):
    generator = torch.Generator().manual_seed(seed)
    given_variances = (torch.rand(z_dim, generator=generator) + 0.01).tolist()
    prior = Anisotropic(z_dim, variances=given_variances, mean_variance=mean_variance, learn=True)
    assert prior().variance.mean().item() == pytest.approx(mean_variance, rel=1e-5)
    ratios = torch.tensor(given_variances) / given_variances[0]
    assert torch.allclose(prior().variance / prior().variance[0], ratios, rtol=1e-4)
    with torch.no_grad():
        prior.log_variance.add_(torch.randn(z_dim, generator=generator))
    assert prior().variance.mean().item() == pytest.approx(mean_variance, rel=1e-5)


def test_learning_starts_from_the_principal_variances():
    images = torch.rand(100, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    fixed = Anisotropic(4, variances="pca", mean_variance=1.0, learn=False)
    learnt = Anisotropic(4, variances="pca", mean_variance=1.0, learn=True)
    parameter = learnt.log_variance
    for prior in (fixed, learnt):
        prior.initialise(images)
    assert torch.equal(fixed().variance, learnt().variance)
    assert learnt.log_variance is parameter  # an optimiser made before still holds it
    assert parameter.requires_grad
