"""DIP-VAE's covariances on codes whose covariance is known."""

import pytest
import torch
from torch.distributions import (
    Independent,
    MultivariateNormal,
    Normal,
    StudentT,
    TanhTransform,
    TransformedDistribution,
)

from disvae.objective.dip_vae import DIPVAE, covariance

MEANS = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [1.0, 0.0], [-1.0, 0.0]])
OF_MEANS = torch.tensor([[4.0, 4.0], [4.0, 8.0]]) / 3  # unbiased, by hand


def test_type_one_is_the_covariance_of_the_means():
    q = Independent(Normal(MEANS, torch.tensor([0.5, 2.0])), 1)
    torch.testing.assert_close(covariance(q, "I"), OF_MEANS)


def test_type_two_adds_the_mean_covariance_of_the_posteriors():
    q = Independent(Normal(MEANS, torch.tensor([0.5, 2.0])), 1)
    torch.testing.assert_close(covariance(q, "II"), OF_MEANS + torch.tensor([0.25, 4.0]).diag())
    S = torch.tensor([[1.0, 0.3], [0.3, 2.0]])
    torch.testing.assert_close(covariance(MultivariateNormal(MEANS, S.expand(4, 2, 2)), "II"), OF_MEANS + S)


def test_type_two_estimates_the_covariance_of_the_codes():
    torch.manual_seed(0)
    V = torch.tensor([[1.0, 0.6], [0.6, 2.0]])
    q = Independent(Normal(MultivariateNormal(torch.zeros(2), V).sample((50_000,)), 0.5), 1)
    torch.testing.assert_close(covariance(q, "II"), V + 0.25 * torch.eye(2), atol=0.05, rtol=0)
    torch.testing.assert_close(covariance(q, "II"), q.sample().T.cov(), atol=0.05, rtol=0)


def test_penalties_are_the_squares_off_and_on_the_diagonal(draw):
    passed = draw()
    terms = DIPVAE("I", lambda_od=3, lambda_d=7)(passed)
    C = covariance(passed.qz_x, "I")
    off = sum(C[i, j] ** 2 for i in range(3) for j in range(3) if i != j)
    on = sum((C[i, i] - 1) ** 2 for i in range(3))
    torch.testing.assert_close(terms["dip_off_diagonal_minibatch"], off)
    torch.testing.assert_close(terms["dip_diagonal_minibatch"], on)
    torch.testing.assert_close(terms["loss"], -terms["elbo"] + 3 * off + 7 * on)


def test_the_diagonal_is_held_against_the_priors_variance(draw):
    prior = Independent(Normal(torch.zeros(3), torch.tensor([0.1, 1.0, 3.0])), 1)
    passed = draw(pz=prior)
    on = (covariance(passed.qz_x, "II").diagonal() - torch.tensor([0.01, 1.0, 9.0])).square().sum()
    torch.testing.assert_close(DIPVAE("II", lambda_od=1, lambda_d=1)(passed)["dip_diagonal_minibatch"], on)


def test_priors_without_a_variance_are_refused(draw):
    dip = DIPVAE("II", lambda_od=1, lambda_d=1)
    with pytest.raises(ValueError, match="prior must have a finite variance"):
        dip.check(draw(pz=Independent(StudentT(torch.full((3,), 2.0)), 1)))
    dip.check(draw(pz=Independent(StudentT(torch.full((3,), 3.0)), 1)))
    bounded = TransformedDistribution(Normal(torch.zeros(3), 1.0), [TanhTransform()], validate_args=False)
    with pytest.raises(ValueError, match=r"prior must have a variance for objective=dip_vae, .* type prior=gaussian"):
        dip.check(draw(pz=Independent(bounded, 1, validate_args=False)))


@pytest.mark.parametrize(("setting", "value"), [("kind", "III"), ("lambda_od", -1), ("lambda_d", -1)])
def test_settings_are_checked_at_the_door(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be"):
        DIPVAE(**{"kind": "I", "lambda_od": 1, "lambda_d": 1} | {setting: value})
