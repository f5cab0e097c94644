"""Total correlation of a Gaussian, against determinants and sampling theory."""

import math

import numpy as np
import pytest

from disvae.metric.gaussian_tc import GaussianTC

tc = GaussianTC()


def whitened(N: int, D: int) -> np.ndarray:
    """Codes whose sample covariance is exactly the identity."""
    z = np.random.default_rng(0).standard_normal((N, D))
    z -= z.mean(0)
    return z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T


def test_a_known_covariance_has_its_closed_form():
    S = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
    scores = tc(whitened(500, 3) @ np.linalg.cholesky(S).T + 3)
    exact = 0.5 * (np.log(np.diag(S)).sum() - np.log(np.linalg.det(S)))
    assert scores["total_correlation"] == pytest.approx(exact, abs=1e-10)
    assert exact > 0.2
    mean = (0.6 / math.sqrt(2) + 0 + 0.3 / math.sqrt(0.5)) / 3
    assert scores["correlation"] == pytest.approx(mean, abs=1e-10)


def test_uncorrelated_latents_score_zero_at_any_scale():
    for scale in (1, [1e-3, 1, -1e3, 5]):
        scores = tc(whitened(500, 4) * scale + 2)
        assert scores == pytest.approx({"total_correlation": 0, "correlation": 0}, abs=1e-9)


def test_chance_is_what_noise_scores_even_of_few_samples():
    N, D = 100, 20
    rng = np.random.default_rng(0)
    runs = [tc(rng.standard_normal((N, D))) for _ in range(2000)]
    chance = tc.chance(np.zeros((N, D)), np.zeros((N, 0)))
    for name, value in chance.items():
        of_runs = np.array([run[name] for run in runs])
        assert value == pytest.approx(of_runs.mean(), abs=3 * of_runs.std() / 20**0.5), name
    assert chance["total_correlation"] == pytest.approx(D * (D - 1) / (4 * N), rel=0.15)


def test_a_latent_that_others_determine_adds_a_finite_amount():
    z = whitened(500, 3)
    doubled = tc(np.column_stack([z, -2 * z[:, 0]]))
    # eigenvalues 1, 1, 2 and the floor
    assert doubled["total_correlation"] == pytest.approx(-0.5 * (math.log(2) + math.log(1e-12)), abs=1e-6)
    assert doubled["correlation"] == pytest.approx(1 / 6, abs=1e-9)


def test_constant_latents_are_left_out():
    z = np.random.default_rng(0).standard_normal((300, 3))
    assert tc(np.insert(z, 1, 0.1, axis=1)) == tc(z)
    assert tc(np.insert(z[:, :1], 1, 0.1, axis=1)) == {"total_correlation": 0, "correlation": 0}
    assert tc(np.full((300, 3), 0.1)) == {"total_correlation": 0, "correlation": 0}
