"""Each divergence against a closed form or a limit, and where its gradients go."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, MultivariateNormal, Normal

from disvae.divergence import Divergence
from disvae.divergence.jsd import JSD
from disvae.divergence.kl_exclusive import KLExclusive
from disvae.divergence.kl_inclusive import KLInclusive
from disvae.divergence.mmd import MMD


def normal(loc: Tensor, scale: Tensor | float) -> Distribution:
    return Independent(Normal(loc, scale), 1)


def standard(D: int) -> Distribution:
    return normal(torch.zeros(D), torch.ones(D))


def aggregate_of_gaussian(B: int, loc: float, total: float, scale: float) -> Distribution:
    """B posteriors of width `scale` whose aggregate is about N(loc, total^2 I) in two dimensions."""
    return normal(loc + (total**2 - scale**2) ** 0.5 * torch.randn(B, 2), scale)


def every_divergence() -> list[Divergence]:
    torch.manual_seed(0)
    kernels = [MMD(k, s) for k in ("imq", "rbf") for s in ("joint", "per_dimension")]
    return [KLInclusive(), KLExclusive(), *kernels, JSD(z_dim=2, width=8, layers=2)]


def value(divergence: Divergence, qz_x: Distribution, pz: Distribution) -> float:
    return divergence(qz_x, pz, qz_x.rsample()).item()


def test_kls_of_gaussian_aggregates_are_the_textbook_ones():
    torch.manual_seed(0)
    s, m = 0.7, 0.5
    qz_x = aggregate_of_gaussian(4000, m, s, 0.5)
    q_p = 2 * (math.log(1 / s) + (s**2 + m**2) / 2 - 0.5)
    p_q = 2 * (math.log(s) + (1 + m**2) / (2 * s**2) - 0.5)
    assert value(KLExclusive(), qz_x, standard(2)) == pytest.approx(q_p, abs=0.06)
    assert value(KLInclusive(), qz_x, standard(2)) == pytest.approx(p_q, abs=0.15)
    assert p_q - q_p > 0.3  # so that neither could pass for the other


def test_kl_between_mixtures_agrees_with_quadrature():
    torch.manual_seed(0)
    means = torch.tensor([[0.0, -1.0], [0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]])
    pz = MixtureSameFamily(Categorical(torch.ones(4)), normal(means, 0.3))
    centres = torch.tensor([[0.2, -1.0], [0.0, 0.8], [0.9, 0.0], [-1.0, 0.3]])
    q_mixture = MixtureSameFamily(Categorical(torch.ones(4)), normal(centres, 0.35))
    axis = torch.linspace(-4, 4, 801)
    grid = torch.cartesian_prod(axis, axis)
    log_q, log_p, area = q_mixture.log_prob(grid), pz.log_prob(grid), (axis[1] - axis[0]).item() ** 2
    qz_x = normal(centres.repeat(1000, 1), 0.35)  # 4000 images: the batch's mixture is q itself
    exclusive, inclusive = (log_q.exp() * (log_q - log_p)).sum() * area, (log_p.exp() * (log_p - log_q)).sum() * area
    assert value(KLExclusive(), qz_x, pz) == pytest.approx(exclusive.item(), abs=0.04)
    assert value(KLInclusive(), qz_x, pz) == pytest.approx(inclusive.item(), abs=0.04)
    assert min(exclusive, inclusive) > 0.1


@pytest.mark.parametrize("divergence", [KLExclusive(), KLInclusive()], ids=lambda d: type(d).__name__)
def test_both_kls_overestimate_on_small_batches_as_documented(divergence):
    torch.manual_seed(0)
    runs = {
        B: [value(divergence, aggregate_of_gaussian(B, 0, 1, 0.5), standard(2)) for _ in range(200)] for B in (8, 256)
    }
    small, large = (sum(run) / len(run) for run in runs.values())
    assert small > large + 0.1  # the truth is zero
    assert large > 0


@pytest.mark.parametrize(
    ("divergence", "slope"),
    [(KLInclusive(), lambda s: -1 / s + s), (KLExclusive(), lambda s: 1 / s - 1 / s**3)],  # of KL with N(0, 1), by hand
    ids=["inclusive", "exclusive"],
)
def test_gradient_in_a_learnt_scale_is_the_derivative_of_the_closed_form(divergence, slope):
    torch.manual_seed(0)
    scale = torch.full((2,), 0.7, requires_grad=True)
    qz_x = aggregate_of_gaussian(4000, 0, 1, 0.5)
    divergence(qz_x, normal(torch.zeros(2), scale), qz_x.rsample()).backward()
    torch.testing.assert_close(scale.grad, torch.full((2,), slope(0.7)), atol=0.15, rtol=0)


def test_exclusive_kl_is_the_mean_kl_less_the_batchs_information():
    apart = normal(100 * torch.arange(8.0)[:, None].expand(8, 2), 0.5)
    z = apart.sample()
    expected = (apart.log_prob(z) - standard(2).log_prob(z)).mean() - math.log(8)
    torch.testing.assert_close(KLExclusive()(apart, standard(2), z), expected)


def test_mmd_of_the_prior_with_itself_is_about_zero_and_grows_with_distance():
    torch.manual_seed(0)
    for divergence in (d for d in every_divergence() if isinstance(d, MMD)):
        near, far = (value(divergence, aggregate_of_gaussian(1000, m, 1, 0.5), standard(2)) for m in (0.0, 1.0))
        assert abs(near) < 0.05
        assert far > 0.3


class Best(nn.Module):
    """The log-ratio of the best classifier of two known densities."""

    def __init__(self, q: Distribution, p: Distribution) -> None:
        super().__init__()
        self.q, self.p = q, p

    def forward(self, z: Tensor) -> Tensor:
        return self.q.log_prob(z) - self.p.log_prob(z)


def test_jsd_of_equal_distributions_is_zero():
    torch.manual_seed(0)
    jsd = JSD(z_dim=2, width=4, layers=1)
    jsd.ratio = Best(standard(2), standard(2))
    assert value(jsd, normal(torch.zeros(500, 2), 1.0), standard(2)) == pytest.approx(0, abs=1e-6)


def test_jsd_of_distributions_apart_is_log_two():
    torch.manual_seed(0)
    jsd = JSD(z_dim=2, width=4, layers=1)
    far = normal(torch.full((500, 2), 50.0), 1.0)
    jsd.ratio = Best(normal(torch.full((2,), 50.0), 1.0), standard(2))
    assert value(jsd, far, standard(2)) == pytest.approx(math.log(2), abs=1e-6)


def test_jsd_with_the_best_classifier_agrees_with_quadrature():
    torch.manual_seed(0)
    q, p = normal(torch.tensor([1.0]), torch.tensor([0.5])), standard(1)
    z = torch.linspace(-8, 8, 4001)[:, None]
    a, b = q.log_prob(z).exp(), p.log_prob(z).exp()
    middle = (a + b) / 2
    exact = 0.5 * (a * (a / middle).log() + b * (b / middle).log()).nan_to_num().sum().item() * 16 / 4000
    jsd = JSD(z_dim=1, width=4, layers=1)
    jsd.ratio = Best(q, p)
    assert value(jsd, q.expand((200_000,)), p) == pytest.approx(exact, abs=5e-3)
    assert 0.1 < exact < 0.6


def test_training_jsds_classifier_raises_its_bound_to_the_truth():
    torch.manual_seed(0)
    jsd, pz = JSD(z_dim=1, width=32, layers=2), standard(1)
    qz_x = normal(torch.full((512, 1), 1.0), 0.5)
    before = value(jsd, qz_x, pz)
    optimiser = torch.optim.Adam(jsd.parameters(), lr=3e-3)
    for _ in range(300):
        optimiser.zero_grad()
        jsd.fit_loss(qz_x, pz, qz_x.sample()).backward()
        optimiser.step()
    after = value(jsd, normal(torch.full((50_000, 1), 1.0), 0.5), pz)
    assert before < 0.1
    assert after == pytest.approx(0.2355, abs=0.02)  # of N(1, 0.5^2) and N(0, 1), by quadrature


def test_jsd_passes_no_gradient_between_codes_and_classifier():
    torch.manual_seed(0)
    jsd = JSD(z_dim=2, width=8, layers=2)
    loc, scale = torch.randn(16, 2, requires_grad=True), torch.ones(2, requires_grad=True)
    qz_x, pz = normal(loc, 1.0), normal(torch.zeros(2), scale)
    jsd(qz_x, pz, qz_x.rsample()).backward()
    assert (loc.grad != 0).any()
    assert (scale.grad != 0).any()
    assert all(p.grad is None for p in jsd.parameters())
    loc.grad = scale.grad = None
    jsd.fit_loss(qz_x, pz, qz_x.rsample()).backward()
    assert loc.grad is None
    assert scale.grad is None
    assert all((p.grad != 0).any() for p in jsd.parameters())


@pytest.mark.parametrize("divergence", every_divergence(), ids=lambda d: f"{type(d).__name__}")
def test_codes_and_a_learnt_prior_both_have_gradients(divergence):
    torch.manual_seed(0)
    loc, scale = torch.randn(16, 2, requires_grad=True), torch.full((2,), 0.7, requires_grad=True)
    mean = torch.zeros(3, 2, requires_grad=True)
    qz_x = normal(loc, 0.5)
    for pz, parameter in (
        (normal(torch.zeros(2), scale), scale),
        (MixtureSameFamily(Categorical(torch.ones(3)), normal(mean, 1.0)), mean),
    ):
        loc.grad = None
        divergence(qz_x, pz, qz_x.rsample()).backward()
        assert (loc.grad != 0).any()
        assert (parameter.grad != 0).any()


@given(B=st.integers(2, 12), D=st.integers(1, 5), full=st.booleans(), mixture=st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_divergence_is_a_finite_scalar_for_every_pair(B, D, full, mixture):
    loc = torch.randn(B, D)
    qz_x = MultivariateNormal(loc, torch.eye(D)) if full else normal(loc, 0.5)
    pz = MixtureSameFamily(Categorical(torch.ones(2)), normal(torch.zeros(2, D), 1.0)) if mixture else standard(D)
    for divergence in (KLInclusive(), KLExclusive(), MMD("imq", "joint"), MMD("rbf", "per_dimension"), JSD(D, 4, 1)):
        result = divergence(qz_x, pz, qz_x.rsample())
        assert result.shape == ()
        assert result.isfinite()
        assert divergence.fit_loss(qz_x, pz, qz_x.rsample()).shape == ()


def test_divergences_without_parameters_fit_nothing():
    q = normal(torch.zeros(4, 2), 1.0)
    for divergence in (KLInclusive(), KLExclusive(), MMD("imq", "joint")):
        assert list(divergence.parameters()) == []
        assert divergence.fit_loss(q, standard(2), q.sample()).item() == 0


@pytest.mark.parametrize(("kernel", "scope", "name"), [("cubic", "joint", "kernel"), ("imq", "all", "scope")])
def test_unknown_kernels_and_scopes_are_refused(kernel, scope, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        MMD(kernel, scope)
