import pytest
import torch
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily, Normal

from disvae.figure.traversal import PROBABILITIES
from disvae.statistics.latents import kl_per_latent, latents, prior_marginals, quantiles, scales

PRIORS = ("gaussian", "anisotropic", "laplace", "student_t", "sparse", "mixture", "ard", "vamp")


@pytest.mark.parametrize("prior", PRIORS)
def test_columns_are_quantiles_of_the_prior_whatever_it_is(small_vae, prior):
    pz = small_vae(f"prior={prior}").prior()
    torch.manual_seed(1)
    places = quantiles(pz, PROBABILITIES)
    assert places.shape == (9, 4)
    below = (pz.sample((50_000,))[:, None] <= places).double().mean(0)  # (9, 4): the share of other samples below
    assert (below - torch.tensor(PROBABILITIES)[:, None]).abs().max() < 0.02


def test_a_gaussian_is_walked_in_equal_steps_and_a_laplace_by_its_formula(small_vae):
    torch.testing.assert_close(
        quantiles(small_vae().prior(), PROBABILITIES)[:, 0], torch.linspace(-2, 2, 9), atol=1e-4, rtol=0
    )
    pz = small_vae("prior=laplace", "prior.scale=2").prior()
    expected = Laplace(0.0, 2.0).icdf(torch.tensor(PROBABILITIES))
    torch.testing.assert_close(quantiles(pz, PROBABILITIES)[:, 3], expected)


def test_the_kl_of_a_latent_is_the_closed_form_also_under_a_full_covariance(small_vae):
    vae = small_vae("posterior=full_gaussian")
    with torch.no_grad():
        qz_x = vae.encode(torch.rand(30, 1, 16, 16))
        found = kl_per_latent(qz_x, vae.prior())
    spread = qz_x.covariance_matrix.diagonal(dim1=1, dim2=2).sqrt()
    expected = torch.distributions.kl_divergence(Normal(qz_x.mean, spread), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(found, expected)


def test_the_kl_of_a_latent_to_a_mixture_is_to_its_marginal():
    loc, scale = torch.tensor([[-2.0, 1.0], [1.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.5, 2.0], [1.0, 0.2], [3.0, 1.0]])
    weights = Categorical(probs=torch.tensor([0.2, 0.5, 0.3]))
    pz = MixtureSameFamily(weights, Independent(Normal(loc, scale), 1))
    n = 200_000
    qz_x = Independent(Normal(torch.tensor([0.5, 3.0]).expand(n, 2), torch.tensor([0.7, 0.3]).expand(n, 2)), 1)
    torch.manual_seed(0)
    found = kl_per_latent(qz_x, pz)
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    for d, (mean, deviation) in enumerate(((0.5, 0.7), (3.0, 0.3))):
        q = Normal(mean, deviation).log_prob(z)
        p = MixtureSameFamily(weights, Normal(loc[:, d], scale[:, d])).log_prob(z)
        assert float(found[d]) == pytest.approx(float(torch.trapezoid(q.exp() * (q - p), z)), abs=0.02)


def test_latents_are_in_order_of_their_kl_and_the_inactive_ones_last():
    mean = torch.linspace(-1, 1, 50)[:, None] * torch.tensor([0.01, 1.0, 3.0, 0.0]) + torch.tensor([0.0, 0.0, 0.0, 9.0])
    found = latents(Independent(Normal(mean, 0.2), 1), Independent(Normal(torch.zeros(4), 1.0), 1))
    assert found.order == [2, 1, 3, 0]  # z3 is far from its prior, but always in one place
    assert found.active == [False, True, True, False]
    assert found.busy == [2, 1]
    assert found.first(most=12, inactive=1) == [2, 1, 3]
    assert found.kl is not None
    assert found.label(3) == f"z3  {found.kl[3]:.2f} nats"
    assert found.kl[3] > 40


@pytest.mark.parametrize("prior", ["sparse", "mixture"])
def test_quantiles_of_mixtures_need_no_samples(small_vae, prior):
    pz = small_vae(f"prior={prior}").prior()
    wanted = torch.tensor([0.001, 0.3, 0.5, 0.999])
    reached = prior_marginals(pz).cdf(quantiles(pz, tuple(wanted.tolist())))
    torch.testing.assert_close(reached, wanted[:, None].expand(4, 4), atol=1e-5, rtol=0)


def test_all_latents_of_a_student_t_have_the_same_exact_quantiles(small_vae):
    pz = small_vae("prior=student_t", "prior.df=5", "prior.scale=2").prior()
    table = torch.tensor([-3.365, 0.0, 2.015, 4.032])  # of 5 degrees of freedom at 1, 50, 95 and 99.5 %
    found = quantiles(pz, (0.01, 0.5, 0.95, 0.995))
    torch.testing.assert_close(found, 2 * table[:, None].expand(4, 4), atol=2e-3, rtol=0)


def test_the_scale_of_a_prior_is_its_standard_deviation_where_there_is_one(small_vae):
    torch.testing.assert_close(scales(small_vae("prior=laplace", "prior.scale=2").prior()), torch.full((4,), 8**0.5))
    cauchy = small_vae("prior=student_t", "prior.df=1").prior()
    torch.testing.assert_close(scales(cauchy), torch.full((4,), 1.8367), rtol=0.03, atol=0)  # tan(0.3413 pi)
