"""Where objectives meet: their limits, their common terms, and what rotating the codes does to them."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
)

from disvae.divergence.kl_exclusive import KLExclusive
from disvae.divergence.kl_inclusive import KLInclusive
from disvae.objective.beta_tc import BetaTC
from disvae.objective.beta_vae import BetaVAE
from disvae.objective.capacity import Capacity
from disvae.objective.decomposition import Decomposition
from disvae.objective.dip_vae import DIPVAE
from disvae.objective.factor_vae import FactorVAE
from disvae.objective.vae import ELBO
from disvae.schedule.constant import Constant
from disvae.schedule.linear import Linear
from disvae.vae import Draw


def one(value: float = 1.0) -> Constant:
    return Constant(value=value)


def every_objective() -> list:
    return [
        ELBO(),
        BetaVAE(one(4)),
        Capacity(one(2), gamma=10),
        BetaTC(one(6), mi_weight=1, dwkl_weight=1, estimator="mss"),
        FactorVAE(z_dim=3, gamma=5, width=8, layers=2, discriminator_lr=1e-4),
        DIPVAE("II", lambda_od=5, lambda_d=5),
        Decomposition(one(2), one(3), KLInclusive()),
    ]


def same(a: dict, b: dict, atol: float = 1e-6) -> None:
    torch.testing.assert_close(a, b, atol=atol, rtol=1e-5)


@pytest.mark.parametrize(
    "objective",
    [
        BetaVAE(one()),
        Decomposition(one(), one(0), KLInclusive()),
        FactorVAE(z_dim=3, gamma=0, width=8, layers=1, discriminator_lr=1e-4),
        DIPVAE("I", lambda_od=0, lambda_d=0),
    ],
    ids=["beta=1", "alpha=0,beta=1", "gamma=0", "lambda=0"],
)
def test_without_its_extra_weight_an_objective_is_the_vae(objective, draw, gradients):
    expected, terms = ELBO()(draw()), objective(draw())
    loss = terms["loss"] - terms.get("discriminator_loss", 0)
    torch.testing.assert_close(loss, expected["loss"], atol=1e-6, rtol=0)
    same(gradients(objective), gradients(ELBO()))


def test_alpha_zero_is_the_beta_vae(draw, gradients):
    decomposition, beta_vae = Decomposition(one(5), one(0), KLInclusive()), BetaVAE(one(5))
    torch.testing.assert_close(decomposition(draw())["loss"], beta_vae(draw())["loss"])
    same(gradients(decomposition), gradients(beta_vae))
    assert "divergence_minibatch" not in decomposition(draw())


def test_capacity_of_zero_nats_weighs_the_kl_by_gamma(draw, gradients):
    torch.testing.assert_close(Capacity(one(0), gamma=7)(draw())["loss"], BetaVAE(one(7))(draw())["loss"])
    same(gradients(Capacity(one(0), gamma=7)), gradients(BetaVAE(one(7))), atol=1e-5)


@pytest.mark.parametrize("estimator", ["mws", "mss"])
def test_beta_tc_with_all_weights_one_is_the_vae_with_a_sampled_kl(draw, estimator):
    passed = draw()
    terms = BetaTC(one(), mi_weight=1, dwkl_weight=1, estimator=estimator)(passed)
    sampled = (passed.qz_x.log_prob(passed.z) - passed.pz.log_prob(passed.z)).mean()
    torch.testing.assert_close(terms["loss"], terms["reconstruction"] + sampled)


def test_every_objective_reports_the_same_elbo_whatever_it_weighs(draw):
    expected = ELBO()(draw())
    for objective in every_objective():
        terms = objective(draw())
        for name in ("reconstruction", "kl", "elbo", "kl_per_dimension"):
            torch.testing.assert_close(terms[name], expected[name], msg=f"{type(objective).__name__}: {name}")
        assert all(term.isfinite().all() for term in terms.values())


@pytest.mark.parametrize("objective", every_objective(), ids=lambda o: type(o).__name__)
def test_a_learnt_prior_has_a_gradient_under_every_objective(objective, gradients):
    assert (gradients(objective)["prior_log_scale"] != 0).all()


@pytest.mark.parametrize("divergence", [KLInclusive(), KLExclusive()], ids=lambda d: type(d).__name__)
def test_the_divergence_alone_moves_a_learnt_prior(divergence, gradients):
    by_name = gradients(Decomposition(one(0), one(1), divergence))
    assert (by_name["prior_log_scale"] != 0).all()


def test_weights_are_logged_as_they_stand_at_the_step(draw):
    ramp = Linear(value=8, start=0, until=0.5, steps=100)
    for step, expected in ((0, 0), (25, 4), (50, 8), (99, 8)):
        terms = Decomposition(ramp, ramp, KLInclusive())(draw(step=step))
        assert terms["beta"].item() == terms["alpha"].item() == pytest.approx(expected)
        assert Capacity(ramp, gamma=1)(draw(step=step))["capacity"].item() == pytest.approx(expected)


def rotated_pair(pz: Distribution) -> tuple[Draw, Draw]:
    """The same linear-Gaussian VAE twice, the second with codes turned by R in encoder and decoder."""
    torch.manual_seed(0)
    B, D = 64, 2
    R = torch.tensor([[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]], dtype=torch.float64)
    x = torch.randn(B, 1, 1, 5, dtype=torch.float64)
    loc = x.flatten(1) @ torch.randn(5, D, dtype=torch.float64)
    S = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)
    W = torch.randn(D, 5, dtype=torch.float64)
    z = MultivariateNormal(loc, S).sample()
    draws = []
    for turn in (torch.eye(D, dtype=torch.float64), R):
        qz_x = MultivariateNormal(loc @ turn.T, turn @ S @ turn.T)
        codes = z @ turn.T
        px_z = Independent(Normal((codes @ turn @ W).reshape(x.shape), 0.1), 3)
        draws.append(Draw(x, codes, qz_x, pz, px_z, step=0, N=B, z_extra=codes[:0]))
    return draws[0], draws[1]


def product(latents: Distribution) -> Distribution:
    return Independent(latents, 1)


ZEROS, ONES = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
FOUR = torch.tensor([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
SPIKES = Normal(torch.zeros(2, 2, dtype=torch.float64), torch.tensor([[0.05, 1.0], [0.05, 1.0]], dtype=torch.float64))


def test_beta_vae_cannot_tell_rotated_codes_under_an_isotropic_gaussian():
    upright, turned = rotated_pair(product(Normal(ZEROS, ONES)))
    objective = BetaVAE(one(4))
    torch.testing.assert_close(objective(upright)["loss"], objective(turned)["loss"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "pz",
    [
        product(Normal(ZEROS, torch.tensor([0.5, 1.5], dtype=torch.float64))),
        product(StudentT(3 * ONES)),
        MixtureSameFamily(Categorical(torch.ones(4)), product(Normal(FOUR, 0.3))),
        product(MixtureSameFamily(Categorical(torch.tensor([[0.8, 0.2]] * 2)), SPIKES)),
    ],
    ids=["anisotropic", "student_t", "mixture", "sparse"],
)
def test_every_other_prior_tells_rotated_codes(pz):
    upright, turned = rotated_pair(pz)
    objective = BetaVAE(one(4))
    assert abs(objective(upright)["loss"] - objective(turned)["loss"]).item() > 1e-2
