"""The aggregate posterior's terms against closed forms and float64 loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

from disvae.statistics.aggregate_posterior import Aggregate


def gaussian(h: Tensor) -> Distribution:
    """(B, 2D) to a diagonal Gaussian."""
    loc, log_scale = h.chunk(2, 1)
    return Independent(Normal(loc, log_scale.exp(), validate_args=False), 1, validate_args=False)


def encodings(loc: Tensor, scale: float) -> Tensor:
    return torch.cat([loc, torch.full_like(loc, math.log(scale))], dim=1)


def standard(D: int) -> Distribution:
    return Independent(Normal(torch.zeros(D), torch.ones(D)), 1)


A = torch.tensor([[1.0, 0.3, 0.0, 0.2], [0.5, 1.0, 0.0, 0.0], [0.0, 0.0, 0.8, 0.4], [0.0, 0.2, 0.0, 1.2]])


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
def test_linear_gaussian_model_has_the_closed_form_of_every_term(covariance):
    # q(z|x) = N(A x, S), x ~ N(0, I), so q(z) = N(0, V) with V = A A^T + S
    torch.manual_seed(0)
    D, M = 4, 20_000
    S = 0.36 * torch.eye(D)
    if covariance == "full":
        S = S + 0.2 * (torch.ones(D, D) - torch.eye(D))
    L = torch.linalg.cholesky(S)
    loc = torch.randn(M, D) @ A.T

    def posterior(h: Tensor) -> Distribution:
        if covariance == "full":
            return MultivariateNormal(h, scale_tril=L.expand(len(h), D, D), validate_args=False)
        return Independent(Normal(h, 0.6, validate_args=False), 1, validate_args=False)

    V = A @ A.T + S
    terms = Aggregate(posterior, loc).terms(standard(D), samples=2000, seed=1)
    tc = 0.5 * (V.diag().log().sum() - V.logdet()).item()
    dwkl = 0.5 * (V.diag() - 1 - V.diag().log()).sum().item()
    expected = {
        "overlap/mutual_information": 0.5 * (V.logdet() - S.logdet()).item(),
        "structure/total_correlation": tc,
        "structure/dimension_wise_kl": dwkl,
        "structure/kl_qz_pz": tc + dwkl,
        "structure/kl_pz_qz": 0.5 * (V.inverse().trace() - D + V.logdet()).item(),
    }
    for name, value in expected.items():
        # three standard errors of the S codes, and what the M images stand in for the whole population
        assert terms[name] == pytest.approx(value, abs=3 * terms[f"{name}_se"] + 0.02), name
        assert terms[f"{name}_se"] < 0.1
    assert terms["overlap/entropy"] == pytest.approx(0.5 * (2 * math.pi * math.e * S).logdet().item(), abs=1e-4)
    assert min(expected.values()) > 0.2


def test_densities_of_narrow_posteriors_agree_with_float64_loops():
    rng = np.random.default_rng(0)
    M, S, D, scale = 60, 20, 3, 0.01
    loc = rng.normal(size=(M, D))
    z = loc[:S] + scale * rng.normal(size=(S, D))
    aggregate = Aggregate(gaussian, encodings(torch.from_numpy(loc).float(), scale))
    joint, each = aggregate.log_densities(torch.from_numpy(z).float())
    log_p = -0.5 * ((z[:, None] - loc) / scale) ** 2 - math.log(scale) - 0.5 * math.log(2 * math.pi)  # (S, M, D)
    np.testing.assert_allclose(joint, np.logaddexp.reduce(log_p.sum(2), 1) - math.log(M), atol=2e-3)
    np.testing.assert_allclose(each, np.logaddexp.reduce(log_p, 1) - math.log(M), atol=2e-3)


@given(M=st.integers(2, 5000), S=st.integers(1, 60), D=st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_blocks_do_not_change_the_densities(M, S, D):
    torch.manual_seed(M)
    h = encodings(torch.randn(M, D), 0.5)
    z = torch.randn(S, D)
    joint, each = Aggregate(gaussian, h).log_densities(z)
    mixture = MixtureSameFamily(Categorical(torch.ones(M)), gaussian(h))
    torch.testing.assert_close(joint, mixture.log_prob(z), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(Aggregate(gaussian, h).log_density(z), joint, atol=1e-5, rtol=1e-5)
    assert each is not None
    for d in range(D):
        latent = MixtureSameFamily(Categorical(torch.ones(M)), Normal(h[:, d], 0.5))
        torch.testing.assert_close(each[:, d], latent.log_prob(z[:, d]), atol=1e-4, rtol=1e-4)


def test_collapsed_posterior_has_no_information_no_structure_and_no_active_unit():
    terms = Aggregate(gaussian, encodings(torch.zeros(500, 3), 1.0)).terms(standard(3), samples=400)
    for name in ("overlap/mutual_information", "structure/total_correlation", "structure/kl_qz_pz"):
        assert terms[name] == pytest.approx(0, abs=1e-5)
    assert abs(terms["structure/mmd"]) < 0.05
    assert terms["active_units"] == 0


def test_posteriors_that_do_not_overlap_hold_log_m_nats():
    loc = 10.0 * torch.arange(50)[:, None].expand(50, 2)
    terms = Aggregate(gaussian, encodings(loc, 0.1)).terms(standard(2))
    assert terms["overlap/mutual_information"] == pytest.approx(math.log(50), abs=1e-4)
    assert terms["overlap/mutual_information_limit"] == pytest.approx(math.log(50))
    assert terms["structure/total_correlation"] == pytest.approx(math.log(50), abs=1e-3)  # both latents say which image


def test_one_full_covariance_posterior_has_the_total_correlation_of_its_true_marginals():
    torch.manual_seed(0)
    S = torch.tensor([[1.0, 0.8], [0.8, 2.0]])
    L = torch.linalg.cholesky(S)
    aggregate = Aggregate(lambda h: MultivariateNormal(h, scale_tril=L.expand(len(h), 2, 2)), torch.zeros(2000, 2))
    terms = aggregate.terms(standard(2), samples=2000)
    exact = 0.5 * (S.diag().log().sum() - S.logdet()).item()
    assert terms["structure/total_correlation"] == pytest.approx(exact, abs=3 * terms["structure/total_correlation_se"])
    assert exact > 0.15


def test_total_correlation_and_dimension_wise_kl_add_up_to_the_kl_of_the_aggregate():
    torch.manual_seed(0)
    terms = Aggregate(gaussian, encodings(torch.randn(300, 3) * 2, 0.3)).terms(standard(3), samples=200)
    total = terms["structure/total_correlation"] + terms["structure/dimension_wise_kl"]
    assert total == pytest.approx(terms["structure/kl_qz_pz"], abs=1e-4)


def test_dimension_wise_kl_is_absent_under_a_prior_that_does_not_factorise():
    means = torch.tensor([[0.0, -1.0], [0.0, 1.0]])
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(means, 0.2), 1))
    terms = Aggregate(gaussian, encodings(means.repeat(100, 1), 0.2)).terms(mixture, samples=200)
    assert "structure/dimension_wise_kl" not in terms
    assert terms["structure/kl_qz_pz"] == pytest.approx(0, abs=1e-4)  # the aggregate is the prior
    assert terms["structure/kl_pz_qz"] == pytest.approx(0, abs=1e-4)


def test_active_units_are_the_latents_whose_mean_moves():
    torch.manual_seed(0)
    loc = torch.randn(1000, 4) * torch.tensor([1.0, 0.0, 0.2, 0.05])  # variances 1, 0, 0.04, 0.0025
    assert Aggregate(gaussian, encodings(loc, 1.0)).terms(standard(4), samples=100)["active_units"] == 2


def test_mmd_tells_a_shifted_aggregate_from_the_prior():
    torch.manual_seed(0)
    prior_like = torch.randn(2000, 2) * 0.8
    mmd = [
        Aggregate(gaussian, encodings(prior_like + shift, 0.6)).terms(standard(2))["structure/mmd"]
        for shift in (0.0, 1.0)
    ]
    assert abs(mmd[0]) < 0.05
    assert mmd[1] > 0.3


def test_the_seed_decides_the_terms_and_the_random_state_outside_stays():
    torch.manual_seed(5)
    aggregate = Aggregate(gaussian, encodings(torch.randn(200, 3), 0.5))
    before = torch.get_rng_state()
    first, again, other = (aggregate.terms(standard(3), samples=50, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again
    assert first["overlap/mutual_information"] != other["overlap/mutual_information"]


def test_terms_keep_no_graph_of_a_learnt_posterior():
    h = torch.randn(50, 6, requires_grad=True)
    joint, _ = Aggregate(gaussian, h).log_densities(torch.randn(5, 3))
    assert not joint.requires_grad


@pytest.mark.parametrize(("M", "samples", "name"), [(1, 10, "h"), (10, 1, "samples")])
def test_too_little_to_estimate_from_is_refused(M, samples, name):
    with pytest.raises(ValueError, match=f"{name} must"):
        Aggregate(gaussian, torch.zeros(M, 4)).terms(standard(2), samples=samples)
