"""The decomposition on a linear-Gaussian model whose terms are known."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from disvae.encoding import Encoding
from disvae.metric.aggregate_posterior import AggregatePosterior
from disvae.prior.gaussian import Gaussian
from disvae.prior.mixture import Mixture

A = torch.tensor([[1.0, 0.3, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 0.8]])


def posterior(h: Tensor) -> Distribution:
    return Independent(Normal(h, 0.6, validate_args=False), 1, validate_args=False)


def encoding(h: Tensor, prior: Distribution) -> Encoding:
    return Encoding(
        codes=h.numpy(),
        factors=np.empty((len(h), 0), int),
        factor_names=(),
        h=h,
        posterior=posterior,
        prior=prior,
    )


def linear(M: int = 3000) -> Encoding:
    torch.manual_seed(0)
    return encoding(torch.randn(M, 3) @ A.T, Gaussian(3)())


def test_every_term_has_its_closed_form():
    V = A @ A.T + 0.36 * torch.eye(3)
    tc = 0.5 * (V.diag().log().sum() - V.logdet()).item()
    dwkl = 0.5 * (V.diag() - 1 - V.diag().log()).sum().item()
    expected = {
        "mutual_information": 0.5 * (V.logdet() - 3 * math.log(0.36)).item(),
        "total_correlation": tc,
        "dimension_wise_kl": dwkl,
        "kl_qz_pz": tc + dwkl,
        "kl_pz_qz": 0.5 * (V.inverse().trace() - 3 + V.logdet()).item(),
    }
    scores = AggregatePosterior(samples=1000)(linear())
    assert list(scores) == [name for term in [*expected, "mmd"] for name in (term, f"{term}_se")]
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=3 * scores[f"{name}_se"] + 0.02), name
        assert value > 0.1


def test_standard_errors_are_the_spread_over_independent_data_sets():
    metric, rng = AggregatePosterior(samples=100), torch.Generator().manual_seed(0)
    runs = [metric(encoding(torch.randn(1000, 3, generator=rng) @ A.T, Gaussian(3)()), seed=s) for s in range(120)]
    for name in ("mutual_information", "total_correlation", "dimension_wise_kl", "kl_qz_pz", "kl_pz_qz"):
        spread = np.std([run[name] for run in runs], ddof=1)  # itself known to 6.5 %
        assert np.mean([run[f"{name}_se"] for run in runs]) == pytest.approx(spread, rel=0.25), name


def test_the_mmd_tells_a_shift_and_its_standard_error_that_it_is_none():
    metric = AggregatePosterior(samples=300)
    torch.manual_seed(0)
    means = 0.8 * torch.randn(2000, 3)  # with the posteriors' 0.6 a standard normal
    same, shifted = (metric(encoding(means + shift, Gaussian(3)())) for shift in (0.0, 1.0))
    assert abs(same["mmd"]) < 4 * same["mmd_se"]
    assert shifted["mmd"] > 20 * shifted["mmd_se"]


def test_the_mmds_standard_error_is_the_spread_over_seeds():
    metric, model = AggregatePosterior(samples=50), linear(500)
    runs = [metric(model, seed=seed) for seed in range(30)]
    spread = np.std([run["mmd"] for run in runs], ddof=1)
    assert np.mean([run["mmd_se"] for run in runs]) == pytest.approx(spread, rel=0.4)


def test_terms_that_are_undefined_are_left_out():
    mixture = Mixture(3, components=2, separation=1.0, means=None, scale=0.5, learn=True)
    with torch.no_grad():
        scores = AggregatePosterior(samples=50)(encoding(torch.randn(200, 3), mixture()))
    assert "dimension_wise_kl" not in scores
    assert {"mutual_information", "total_correlation", "kl_qz_pz", "kl_pz_qz", "mmd"} < scores.keys()


def test_every_score_has_a_standard_error_so_that_none_is_asked_for():
    scores = AggregatePosterior(samples=50)(linear(200))
    assert {f"{name}_se" for name in scores if not name.endswith("_se")} <= scores.keys()


def test_the_seed_decides_and_the_random_state_outside_stays():
    metric, model = AggregatePosterior(samples=50), linear(200)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    assert metric(model, seed=1) == metric(model, seed=1)
    first, other = metric(model, seed=1), metric(model, seed=2)
    assert first["mmd"] != other["mmd"]
    assert first["mutual_information"] != other["mutual_information"]
    assert torch.equal(before, torch.get_rng_state())


def test_a_full_covariance_is_scored_by_its_true_marginals():
    S = torch.tensor([[1.0, 0.8], [0.8, 2.0]])
    model = Encoding(
        codes=np.zeros((500, 2), "f4"),
        factors=np.empty((500, 0), int),
        factor_names=(),
        h=torch.zeros(500, 2),
        posterior=lambda h: MultivariateNormal(h, S.expand(len(h), 2, 2)),
        prior=Gaussian(2)(),
    )
    scores = AggregatePosterior(samples=500)(model)
    exact = 0.5 * (S.diag().log().sum() - S.logdet()).item()
    assert scores["total_correlation"] == pytest.approx(exact, abs=3 * scores["total_correlation_se"])


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        AggregatePosterior(samples=1)
