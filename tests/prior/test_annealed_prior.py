"""beta-VAE as annealed prior plus entropy: Mathieu et al. 2019, theorem 1 and corollary 1, in closed form."""

import math
from itertools import pairwise
from typing import NamedTuple

import pytest
import torch
from scipy import integrate, special
from torch import distributions
from torch.distributions import Distribution, Independent, kl_divergence

from disvae.likelihood.gaussian import Gaussian as GaussianLikelihood
from disvae.posterior.gaussian import Gaussian as GaussianPosterior
from disvae.prior import Prior
from disvae.prior.anisotropic import Anisotropic
from disvae.prior.gaussian import Gaussian
from disvae.prior.laplace import Laplace
from disvae.prior.student_t import StudentT

BETAS = [0.5, 1.0, 2.0, 6.0]


class Annealed(NamedTuple):
    f: Distribution  # f_beta = p^beta / F_beta per latent (D,)
    log_F: float


def gaussian(variance: torch.Tensor, beta: float) -> Annealed:
    D = len(variance)
    log_F = D / 2 * (1 - beta) * math.log(2 * math.pi) + (1 - beta) / 2 * variance.log().sum() - D / 2 * math.log(beta)
    return Annealed(distributions.Normal(torch.zeros(D).double(), (variance / beta).sqrt()), float(log_F))


def laplace(b: float, D: int, beta: float) -> Annealed:
    log_F = D * ((1 - beta) * math.log(2 * b) - math.log(beta))
    return Annealed(distributions.Laplace(torch.zeros(D).double(), b / beta), log_F)


def student_t(nu: float, s: float, D: int, beta: float) -> Annealed:
    nu_beta = beta * (nu + 1) - 1
    log_c = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - math.log(math.pi * nu) / 2
    log_F = beta * log_c + (1 - beta) * math.log(s) + math.log(nu) / 2 + special.betaln(0.5, nu_beta / 2)
    f = distributions.StudentT(nu_beta, torch.zeros(D).double(), s * math.sqrt(nu / nu_beta))
    return Annealed(f, float(D * log_F))


def cases(D: int, beta: float) -> dict[str, tuple[Prior, Annealed]]:
    """Our prior and its annealed form, in float64 and from the numbers the prior really holds."""
    anisotropic = Anisotropic(D, variances=[1.0 + d for d in range(D)], mean_variance=1.5, learn=False).double()
    b = Laplace(D, scale=0.7).double()
    t = StudentT(D, df=3.0, scale=0.8, learn_df=False).double()
    return {
        "gaussian": (Gaussian(D).double(), gaussian(torch.ones(D).double(), beta)),
        "anisotropic": (anisotropic, gaussian(anisotropic().variance, beta)),
        "laplace": (b, laplace(b.scale[0].item(), D, beta)),
        "student_t": (t, student_t(t.df.item(), t.scale[0].item(), D, beta)),
    }


def integral(function) -> float:
    """Over the real line, of a function of z that is smooth away from 0."""
    return sum(
        integrate.quad(function, a, b, epsabs=1e-12, epsrel=1e-11, limit=400)[0]
        for a, b in [(-math.inf, -4), (-4, 0), (0, 4), (4, math.inf)]
    )


def log_prob(dist: Distribution, z: float) -> float:
    return dist.log_prob(torch.tensor([z], dtype=torch.float64)).sum().item()


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", cases(1, 1.0))
def test_F_beta_is_the_integral_of_the_powered_prior(name, beta):
    prior, (_, log_F) = cases(1, beta)[name]
    pz = prior()
    assert math.log(integral(lambda z: math.exp(beta * log_prob(pz, z)))) == pytest.approx(log_F, abs=1e-7)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", cases(1, 1.0))
def test_f_beta_is_the_powered_prior_normalised(name, beta):
    prior, (f, log_F) = cases(5, beta)[name]
    z = 3 * torch.randn(100, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert torch.allclose(f.log_prob(z).sum(1), beta * prior().log_prob(z) - log_F, atol=1e-8)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", cases(1, 1.0))
@pytest.mark.parametrize("posterior", [distributions.Normal(0.6, 0.4), distributions.Laplace(-0.3, 0.5)], ids=repr)
def test_theorem_1_beta_kl_is_kl_to_the_annealed_prior_plus_entropy(posterior, name, beta):
    prior, (f, log_F) = cases(1, beta)[name]
    q = type(posterior)(*(getattr(posterior, key).double() for key in ("loc", "scale")))
    pz = prior()

    def kl(p: Distribution) -> float:
        def integrand(z: float) -> float:
            log_q = log_prob(q, z)
            return math.exp(log_q) * (log_q - log_prob(p, z)) if log_q > -700 else 0.0

        a = q.loc.item()
        ends = [a - 20, min(a, 0.0), max(a, 0.0), a + 20]
        return sum(
            integrate.quad(integrand, lo, hi, epsabs=1e-12, epsrel=1e-11, limit=400)[0] for lo, hi in pairwise(ends)
        )

    right = -kl(f) + (beta - 1) * q.entropy().item() + log_F
    assert -beta * kl(pz) == pytest.approx(right, abs=1e-7)


@pytest.mark.parametrize("beta", BETAS)
def test_theorem_1_in_ten_dimensions_with_closed_kls(beta):
    q = Independent(distributions.Normal(torch.linspace(-1, 1, 10).double(), torch.linspace(0.1, 1, 10).double()), 1)
    for name in ("gaussian", "anisotropic"):
        prior, (f, log_F) = cases(10, beta)[name]
        right = -kl_divergence(q, Independent(f, 1)) + (beta - 1) * q.entropy() + log_F
        assert torch.allclose(-beta * kl_divergence(q, prior()), right, atol=1e-8)


@pytest.mark.parametrize("beta", BETAS)
def test_corollary_1_beta_vae_is_an_elbo_with_larger_codes_and_a_volume_bonus(beta):
    D, generator = 4, torch.Generator().manual_seed(1)
    h = torch.randn(3, 2 * D, generator=generator, dtype=torch.float64)  # means, log-variances
    x, weights = torch.rand(3, 1, 2, 4, generator=generator).double(), torch.randn(8, D, generator=generator).double()
    prior, posterior = Gaussian(D).double(), GaussianPosterior(D, link="exp")
    likelihood = GaussianLikelihood(scale=0.5, learn="none").double()

    def elbo(h: torch.Tensor, shrink: float, beta: float) -> torch.Tensor:
        torch.manual_seed(0)  # the same noise on both sides
        qz_x = posterior(h)
        px_z = likelihood((qz_x.rsample() / shrink @ weights.T).tanh().reshape(3, 1, 2, 4))
        return px_z.log_prob(x) - beta * kl_divergence(qz_x, prior())

    scaled = torch.cat([math.sqrt(beta) * h[:, :D], h[:, D:] + math.log(beta)], dim=1)
    log_volume = scaled[:, D:].sum(1)  # log |beta S|
    c = D * (beta - 1) / 2 * (1 + math.log(2 * math.pi / beta)) + gaussian(torch.ones(D).double(), beta).log_F
    right = elbo(scaled, math.sqrt(beta), 1.0) + (beta - 1) / 2 * log_volume + c
    assert torch.allclose(elbo(h, 1.0, beta), right, atol=1e-9)


def test_annealing_a_student_t_thins_its_tails():
    assert student_t(3.0, 1.0, 1, 2.0).f.df.item() == 7
