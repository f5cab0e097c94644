"""The decomposition of the KL: each term on its own, not only their sum."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal

from disvae.objective.beta_tc import BetaTC
from disvae.schedule.constant import Constant
from disvae.vae import Draw


def beta_tc(beta=6.0, mi=1.0, dwkl=1.0, estimator="mss") -> BetaTC:
    return BetaTC(Constant(value=beta), mi_weight=mi, dwkl_weight=dwkl, estimator=estimator)


def linear_gaussian(B: int, D: int, N: int) -> tuple[Draw, dict[str, float]]:
    """A Draw with q(z|x) = N(A x, s^2 I) and the closed form of each term."""
    torch.manual_seed(0)
    A = torch.eye(D) + 0.4 * torch.ones(D, D).tril(-1)
    s = 0.7
    V = A @ A.T + s**2 * torch.eye(D)
    qz_x = Independent(Normal(torch.randn(B, D) @ A.T, s), 1)
    x = torch.zeros(B, 1, 1, 1)
    px_z = Independent(Normal(x, 1.0), 3)
    pz = Independent(Normal(torch.zeros(D), torch.ones(D)), 1)
    exact = {
        "mi": 0.5 * (V.logdet().item() - D * math.log(s**2)),
        "tc": 0.5 * (V.diag().log().sum() - V.logdet()).item(),
        "dwkl": 0.5 * (V.diag() - 1 - V.diag().log()).sum().item(),
    }
    return Draw(x, qz_x.rsample(), qz_x, pz, px_z, step=0, N=N, z_extra=x.new_zeros(0, D)), exact


def test_stratified_terms_are_the_closed_forms_each():
    draw, exact = linear_gaussian(B=2048, D=3, N=20_000)
    terms = beta_tc()(draw)
    assert {name: terms[f"{name}_mss"].item() for name in exact} == pytest.approx(exact, abs=0.2)


def test_weighted_sampling_is_off_by_a_logarithm_of_n_per_density():
    # wide posteriors overlap, so each of D + 1 logarithms is too low by about log N
    B, D, N = 1024, 3, 20_000
    draw, exact = linear_gaussian(B, D, N)
    terms = beta_tc(estimator="mws")(draw)
    assert terms["mi_mws"].item() - exact["mi"] == pytest.approx(math.log(N), abs=0.5)
    assert terms["tc_mws"].item() - exact["tc"] == pytest.approx((D - 1) * math.log(N), abs=0.5)
    assert terms["dwkl_mws"].item() - exact["dwkl"] == pytest.approx(-D * math.log(N), abs=0.5)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_terms_telescope_to_the_sampled_kl_and_weigh_into_the_loss(draw, estimator):
    passed = draw()
    terms = beta_tc(beta=6, mi=0.5, dwkl=2, estimator=estimator)(passed)
    mi, tc, dwkl = (terms[f"{name}_{estimator}"] for name in ("mi", "tc", "dwkl"))
    sampled = (passed.qz_x.log_prob(passed.z) - passed.pz.log_prob(passed.z)).mean()
    torch.testing.assert_close(mi + tc + dwkl, sampled, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + 0.5 * mi + 6 * tc + 2 * dwkl)


def test_constants_of_weighted_sampling_move_values_and_not_gradients(gradients):
    small, large = (gradients(beta_tc(estimator="mws"), N=N) for N in (1000, 100_000))
    torch.testing.assert_close(small, large, atol=1e-5, rtol=1e-4)


def test_pairs_that_have_no_decomposition_are_refused_with_what_to_type(draw):
    mixture = MixtureSameFamily(Categorical(torch.ones(2)), Independent(Normal(torch.randn(2, 3), 1.0), 1))
    with pytest.raises(ValueError, match="prior=gaussian"):
        beta_tc().check(draw(pz=mixture))
    passed = draw()
    full = MultivariateNormal(passed.z.detach(), torch.eye(3))
    with pytest.raises(ValueError, match="posterior=gaussian"):
        beta_tc().check(Draw(passed.x, passed.z, full, passed.pz, passed.px_z, 0, 1000, passed.z_extra))
    with pytest.raises(ValueError, match="batch_size must be in"):
        beta_tc().check(draw(N=31))
    beta_tc().check(draw(N=32))
    beta_tc(estimator="mws").check(draw(N=31))


@pytest.mark.parametrize(("setting", "value"), [("mi", -1.0), ("dwkl", -0.1), ("estimator", "mmm")])
def test_settings_are_checked_at_the_door(setting, value):
    with pytest.raises(ValueError, match=f"{setting}.* must be"):
        beta_tc(**{setting: value})
