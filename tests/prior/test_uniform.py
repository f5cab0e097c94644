"""The uniform prior, one-hot codes beside it, and the posterior that matches them."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, OneHotCategorical, kl_divergence

from disvae.distribution.joint import Joint, OneHot
from disvae.estimators import factorised, kl
from disvae.posterior.joint import JointPosterior
from disvae.prior.uniform import Uniform
from disvae.statistics.latents import along, scales


def test_density_is_one_half_a_latent_inside_and_zero_outside():
    pz = Uniform(3, categories=[])()
    assert factorised(pz) is not None
    assert pz.log_prob(torch.tensor([0.0, 0.9, -0.9])) == pytest.approx(-3 * math.log(2))
    assert pz.log_prob(torch.tensor([0.0, 0.9, 1.1])) == -math.inf
    torch.testing.assert_close(scales(pz), torch.full((3,), 1 / math.sqrt(3)))


def test_categories_are_one_hot_equally_likely_and_come_first():
    pz = Uniform(6, categories=[2, 3])()
    torch.manual_seed(0)
    z = pz.sample((30_000,))
    assert z.shape == (30_000, 6)
    assert (z[:, :2].sum(1) == 1).all()
    assert (z[:, 2:5].sum(1) == 1).all()
    assert z[:, 5].abs().max() < 1
    torch.testing.assert_close(z.mean(0), pz.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(z.var(0), pz.variance, atol=0.02, rtol=0)
    torch.testing.assert_close(pz.log_prob(z), torch.full((30_000,), -math.log(2 * 3 * 2)))


@pytest.mark.parametrize("categories", [[1], [2, 3], [-2]])
def test_categories_must_have_room(categories):
    for part in (
        lambda: Uniform(4, categories=categories),
        lambda: JointPosterior(4, categories=categories, unit=True),
    ):
        with pytest.raises(ValueError, match="categories must be sizes of at least 2 with a sum of at most z_dim=4"):
            part()


def test_a_gaussian_has_an_infinite_kl_to_it():
    q = Independent(Normal(torch.zeros(2, 3), torch.full((2, 3), 1e-3)), 1)
    assert kl(q, Uniform(3, categories=[])(), q.sample()).isinf().all()


def test_posterior_reads_logits_means_and_log_variances():
    h = torch.tensor([[5.0, 0.0, 0.0, 0.3, -0.2, 0.0, 2.0]])
    q = JointPosterior(5, categories=[3], unit=False)(h)
    torch.testing.assert_close(q.mean, torch.tensor([[*h[0, :3].softmax(0), 0.3, -0.2]]))
    torch.testing.assert_close(q.variance[0, 3:], torch.tensor([1.0, math.exp(2)]))
    unit = JointPosterior(2, categories=[], unit=True)(h[:, 3:5])
    torch.testing.assert_close(kl_divergence(unit, Independent(Normal(h[:, 3:5], torch.ones(1, 2)), 1)), torch.zeros(1))


def test_one_hot_codes_are_torchs_and_pass_gradients_straight_through():
    logits = torch.tensor([[0.1, 0.7, -0.4]], requires_grad=True)
    own, torchs = OneHot(logits), OneHotCategorical(logits=logits)
    z = torch.eye(3)
    torch.testing.assert_close(own.log_prob(z), torchs.log_prob(z))
    torch.testing.assert_close(own.entropy(), torchs.entropy())
    torch.manual_seed(0)
    drawn = own.sample((7,))
    torch.manual_seed(0)
    assert torch.equal(drawn, torchs.sample((7,)))
    (gradient,) = torch.autograd.grad(own.rsample()[0, 0], logits)
    torch.testing.assert_close(gradient, torch.autograd.grad(logits.softmax(1)[0, 0], logits)[0])


def test_parts_add_up():
    parts = [OneHot(torch.tensor([0.2, 0.5])), Independent(Normal(torch.tensor([0.1]), 0.5), 1)]
    others = [OneHot(torch.tensor([0.0, 0.0])), Independent(Normal(torch.tensor([0.0]), 1.0), 1)]
    p, q = Joint(parts), Joint(others)
    assert kl_divergence(p, q) == pytest.approx(
        float(sum(kl_divergence(a, b) for a, b in zip(parts, others, strict=True)))
    )
    z = torch.tensor([0.0, 1.0, 0.3])
    assert p.log_prob(z) == pytest.approx(float(parts[0].log_prob(z[:2]) + parts[1].log_prob(z[2:])))


def test_along_a_category_its_code_stays_a_distribution():
    pz = Uniform(4, categories=[3])()
    z = along(torch.tensor([0.6, 0.3, 0.1, 0.5]), 0, torch.tensor([0.0, 1.0]), pz)
    torch.testing.assert_close(z, torch.tensor([[0.0, 0.75, 0.25, 0.5], [1.0, 0.0, 0.0, 0.5]]))
    assert torch.equal(along(z[1], 3, torch.tensor([-1.0]), pz), torch.tensor([[1.0, 0.0, 0.0, -1.0]]))
