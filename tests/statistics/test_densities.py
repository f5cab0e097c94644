import pytest
import torch
from scipy import stats
from torch.distributions import (
    Categorical,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TanhTransform,
    TransformedDistribution,
)

from disvae.distribution.student_t import StudentT
from disvae.statistics.densities import covariance_of_pair, density_of_latent, density_of_pair, widths

X, Y = torch.linspace(-5, 5, 101), torch.linspace(-6, 6, 121)


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def positive(*shape):
    return 0.5 + random(*shape).abs()


def mixture(D):
    components = Independent(Normal(random(4, D), positive(4, D)), 1)
    return MixtureSameFamily(Categorical(logits=random(4)), components)


def sparse(D):
    weights = Categorical(logits=random(D, 2))
    return Independent(MixtureSameFamily(weights, Normal(torch.zeros(D, 2), positive(D, 2))), 1)


def full(N, D):
    L = torch.tril(0.3 * random(N, D, D), -1) + torch.diag_embed(positive(N, D))
    return MultivariateNormal(0.5 * random(N, D), scale_tril=L)


TWO = {
    "gaussian": Independent(Normal(random(2), positive(2)), 1),
    "gaussians of images": Independent(Normal(random(5, 2), positive(5, 2)), 1),
    "laplace": Independent(Laplace(random(5, 2), positive(5, 2)), 1),
    "student_t": Independent(StudentT(torch.tensor(3.0), random(5, 2), positive(5, 2)), 1),
    "mixture": mixture(2),
    "sparse": sparse(2),
    "full": full(5, 2),
}


@pytest.mark.parametrize("kind", TWO)
@pytest.mark.parametrize("pair", [(0, 1), (1, 0)])
def test_of_two_latents_it_is_the_joint_density(kind, pair):
    dist = TWO[kind]
    grid = torch.cartesian_prod(X, Y)[:, list(pair)]  # latent pair[0] goes along X
    expected = (
        dist.log_prob(grid.view(len(grid), *[1] * len(dist.batch_shape), 2)).exp().view(len(X), len(Y), -1).mean(2)
    )
    torch.testing.assert_close(density_of_pair(dist, pair, X, Y), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "dist", [Independent(Normal(random(6, 3), positive(6, 3)), 1), mixture(3), sparse(3), full(6, 3)]
)
def test_the_pair_integrates_to_the_latents(dist):
    wide = torch.linspace(-12, 12, 481)
    plane = density_of_pair(dist, (2, 0), wide, wide)
    step = (wide[1] - wide[0]).item()
    torch.testing.assert_close(plane.sum(1) * step, density_of_latent(dist, 2, wide), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(plane.sum(0) * step, density_of_latent(dist, 0, wide), rtol=1e-3, atol=1e-4)


def test_a_covariance_turns_the_plane():
    covariance = torch.tensor([[[1.0, 0.3, 0.8], [0.3, 2.0, 0.1], [0.8, 0.1, 1.5]]])
    dist = MultivariateNormal(torch.tensor([[1.0, 0.0, -1.0]]), covariance)
    expected = stats.multivariate_normal([-1, 1], [[1.5, 0.8], [0.8, 1]]).pdf(torch.cartesian_prod(X, Y).numpy())
    torch.testing.assert_close(
        density_of_pair(dist, (2, 0), X, Y).double(), torch.from_numpy(expected).view(101, 121), rtol=1e-3, atol=1e-6
    )
    torch.testing.assert_close(covariance_of_pair(dist, (2, 0))[0], torch.tensor([[1.5, 0.8], [0.8, 1.0]]))


def test_a_distribution_that_cannot_be_taken_apart_has_densities_too():
    latents = TransformedDistribution(
        Normal(0.3 * random(3), 0.4, validate_args=False), [TanhTransform()], validate_args=False
    )
    places = torch.linspace(-1.5, 1.5, 3001)
    densities = [density_of_latent(Independent(latents, 1), d, places) for d in range(3)]
    torch.testing.assert_close(torch.stack([each.sum() / 1000 for each in densities]), torch.ones(3), rtol=0, atol=0.01)
    torch.testing.assert_close(densities[1][1600], latents.log_prob(places[1600])[1].exp())
    assert densities[0][0] == 0, "it is outside of the support"
    plane = density_of_pair(Independent(latents, 1), (2, 0), places, places)
    torch.testing.assert_close(plane, densities[2][:, None] * densities[0])


def test_what_has_no_known_latents_is_refused():
    uniform = torch.distributions.Dirichlet(torch.ones(3))
    assert density_of_latent(uniform, 0, X) is None
    with pytest.raises(ValueError, match="must be independent or jointly Gaussian, got Dirichlet"):
        density_of_pair(uniform, (0, 1), X, Y)


@pytest.mark.parametrize("df", [1.0, 2.0])
def test_a_student_t_without_a_standard_deviation_is_as_wide_as_its_scale(df):
    scale = positive(4, 3)
    dist = Independent(StudentT(torch.tensor(df), random(4, 3), scale), 1)
    torch.testing.assert_close(widths(dist), scale)
    torch.testing.assert_close(covariance_of_pair(dist, (0, 2))[1], torch.diag(scale[1, [0, 2]].square()))
