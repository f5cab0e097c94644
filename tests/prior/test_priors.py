"""Every prior: shapes, normalisation, spread, and state that a checkpoint carries."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate

from disvae.prior import Prior
from disvae.prior.anisotropic import Anisotropic
from disvae.prior.ard import ARD
from disvae.prior.gaussian import Gaussian
from disvae.prior.laplace import Laplace
from disvae.prior.mixture import Mixture
from disvae.prior.sparse import Sparse
from disvae.prior.student_t import StudentT

PRIORS: dict[str, Callable[[int], Prior]] = {
    "gaussian": Gaussian,
    "anisotropic": lambda D: Anisotropic(D, variances=[1.0 + d for d in range(D)], mean_variance=1.0, learn=False),
    "learnt anisotropic": lambda D: Anisotropic(D, variances="equal", mean_variance=2.0, learn=True),
    "student_t": lambda D: StudentT(D, df=9.0, scale=0.7, learn_df=False),
    "learnt student_t": lambda D: StudentT(D, df=5.0, scale=1.0, learn_df=True),
    "mixture": lambda D: Mixture(D, components=2, separation=1.0, means=None, scale=0.1732, learn=False),
    "learnt mixture": lambda D: Mixture(D, components=2, separation=1.0, means=None, scale=0.4, learn=True),
    "learnt weights of a mixture": lambda D: Mixture(
        D, components=2, separation=1.0, means=None, scale=0.4, learn=False, learn_weights=True
    ),
    "sparse": lambda D: Sparse(D, gamma=0.8, spike=0.05, slab=1.0),
    "laplace": lambda D: Laplace(D, scale=0.5),
    "ard": lambda D: ARD(D, momentum=0.9),
}


@pytest.mark.parametrize("name", PRIORS)
@settings(max_examples=10, deadline=None)
@given(z_dim=st.integers(1, 20), batch=st.integers(1, 5), spread=st.floats(0, 30))
def test_one_density_per_code(name, z_dim, batch, spread):
    pz = PRIORS[name](z_dim)()
    assert pz.batch_shape == ()
    assert pz.event_shape == (z_dim,)
    assert pz.sample((batch,)).shape == (batch, z_dim)
    log_p = pz.log_prob(torch.full((batch, z_dim), spread))
    assert log_p.shape == (batch,)
    assert log_p.isfinite().all()


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one(name):
    pz = PRIORS[name](1).double()()

    def density(z: float) -> float:
        return pz.log_prob(torch.tensor([z], dtype=torch.float64)).exp().item()

    inside = integrate.quad(density, -5, 5, points=[-1, -0.1, 0, 0.1, 1], limit=200)[0]
    tails = integrate.quad(density, 5, math.inf)[0] + integrate.quad(density, -math.inf, -5)[0]
    assert inside + tails == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_have_the_closed_standard_deviation(name):
    torch.manual_seed(0)
    pz = PRIORS[name](3)()
    with torch.no_grad():
        assert torch.allclose(pz.sample((400_000,)).std(0), pz.stddev, rtol=0.02)


@pytest.mark.parametrize(
    ("name", "std"),
    [
        ("gaussian", [1, 1]),
        ("anisotropic", [math.sqrt(2 / 3), math.sqrt(4 / 3)]),  # 1 : 2 with mean 1
        ("learnt anisotropic", [math.sqrt(2)] * 2),
        ("student_t", [0.7 * math.sqrt(9 / 7)] * 2),
        ("mixture", [0.1732, math.sqrt(1 + 0.1732**2)]),  # two means, (0, -1) and (0, 1)
        ("sparse", [math.sqrt(0.8 * 0.05**2 + 0.2)] * 2),
        ("laplace", [0.5 * math.sqrt(2)] * 2),
        ("ard", [1, 1]),  # before it has seen codes
    ],
)
def test_standard_deviation_is_the_textbook_one(name, std):
    assert PRIORS[name](2)().stddev.tolist() == pytest.approx(std, rel=1e-5)


@pytest.mark.parametrize("name", PRIORS)
def test_a_checkpoint_carries_everything_that_makes_the_density(name):
    prior = PRIORS[name](2)
    other = PRIORS[name](2)
    for tensor in other.state_dict().values():
        tensor.add_(0.3 * torch.rand_like(tensor))  # in place: another prior of the same kind
    z = torch.tensor([0.3, -0.9])
    assert not torch.allclose(prior().log_prob(z), other().log_prob(z))
    prior.load_state_dict(other.state_dict())
    assert torch.equal(prior().log_prob(z), other().log_prob(z))


@pytest.mark.parametrize("name", PRIORS)
def test_only_what_is_learnt_is_a_parameter_and_all_of_it_is_reached(name):
    prior = PRIORS[name](3)
    parameters = list(prior.parameters())
    assert bool(parameters) == name.startswith("learnt")
    if parameters:
        prior().log_prob(torch.tensor([[0.5, 0.2, -0.1]])).sum().backward()
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in parameters)


@pytest.mark.parametrize("name", PRIORS)
def test_the_density_is_built_afresh_so_it_follows_dtype_and_training(name):
    prior = PRIORS[name](2)
    before = prior().log_prob(torch.zeros(2)).item()
    prior.double()
    log_p = prior().log_prob(torch.zeros(2, dtype=torch.float64))
    assert log_p.dtype == torch.float64
    assert log_p.item() == pytest.approx(before, rel=1e-5)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: ARD(2, momentum=1.0), "momentum must be at least 0 and below 1, got 1"),
        (lambda: Laplace(2, scale=0.0), "scale must be positive, got 0"),
        (lambda: StudentT(2, df=-1.0, scale=1.0, learn_df=False), "df must be positive, got -1"),
        (lambda: StudentT(2, df=1.0, scale=0.0, learn_df=False), "scale must be positive, got 0"),
        (lambda: Sparse(2, gamma=1.2, spike=0.05, slab=1.0), "gamma must be from 0 to 1, got 1.2"),
        (lambda: Sparse(2, gamma=0.5, spike=2.0, slab=1.0), "spike must be positive and below slab=1.0, got 2.0"),
        (lambda: Anisotropic(2, variances=[1.0], mean_variance=1.0, learn=False), "z_dim=2 positive numbers"),
        (lambda: Anisotropic(2, variances=[1.0, 0.0], mean_variance=1.0, learn=False), "z_dim=2 positive numbers"),
        (lambda: Anisotropic(2, variances="svd", mean_variance=1.0, learn=False), "variances must be pca, equal"),
        (lambda: Anisotropic(2, variances="pca", mean_variance=0.0, learn=False), "mean_variance must be positive"),
        (lambda: Mixture(3, components=7, separation=1.0, means=None, scale=1.0, learn=False),
         "components must be at most 2 \\* z_dim = 6, got 7"),
        (lambda: Mixture(2, components=4, separation=1.0, means=[[0.0, 1.0]], scale=1.0, learn=False),
         "components must be 1, the number of means, got 4"),
        (lambda: Mixture(2, components=1, separation=1.0, means=[[0.0]], scale=1.0, learn=False), "rows of z_dim=2"),
        (lambda: Mixture(2, components=0, separation=1.0, means=None, scale=1.0, learn=False), "components must be"),
        (lambda: Mixture(2, components=1, separation=1.0, means=None, scale=0.0, learn=False), "scale must be"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused(make, complaint):
    with pytest.raises(ValueError, match=complaint):
        make()


def hoyer(z: np.ndarray) -> float:
    """Mean sparsity of codes (N, D) scaled to unit deviation: 0 dense, 1 one-hot."""
    z = z / z.std(0)
    D = z.shape[1]
    ratio = (np.abs(z).sum(1) / np.linalg.norm(z, axis=1)).mean()
    return float((math.sqrt(D) - ratio) / (math.sqrt(D) - 1))


@pytest.mark.parametrize(("gamma", "expected"), [(0, 0.2307), (0.5, 0.469), (0.8, 0.651), (0.9, 0.690)])
def test_hoyer_of_sparse_codes_in_50_dimensions(gamma, expected):
    torch.manual_seed(0)
    z = Sparse(50, gamma=gamma, spike=0.05, slab=1.0)().sample((40_000,)).numpy()
    assert hoyer(z) == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("gamma", [0, 1])
def test_a_weight_of_zero_leaves_exactly_the_other_component(gamma):
    z = torch.linspace(-3, 3, 7)[:, None].requires_grad_()
    sparse = Sparse(1, gamma=gamma, spike=0.05, slab=1.0)().log_prob(z)
    alone = torch.distributions.Normal(0.0, 0.05 if gamma else 1.0).log_prob(z[:, 0])
    assert torch.allclose(sparse, alone, rtol=1e-6)
    (gradient,) = torch.autograd.grad(sparse.sum(), z)
    assert gradient.isfinite().all()


def test_pinwheel_components_are_where_the_paper_puts_them():
    pz = Mixture(2, components=4, separation=1.0, means=None, scale=0.1732, learn=False)()
    means = {(round(x), round(y)) for x, y in pz.component_distribution.mean.tolist()}
    assert means == {(0, -1), (0, 1), (1, 0), (-1, 0)}
    assert pz.component_distribution.variance.unique().tolist() == pytest.approx([0.03], abs=1e-5)
    assert pz.mixture_distribution.probs.tolist() == pytest.approx([0.25] * 4)


@given(components=st.integers(1, 12), z_dim=st.integers(1, 20), separation=st.floats(0.1, 10))
@settings(max_examples=40, deadline=None)
def test_components_are_distinct_and_at_the_separation(components, z_dim, separation):
    if z_dim != 2 and components > 2 * z_dim:
        return
    mixture = Mixture(z_dim, components=components, separation=separation, means=None, scale=0.1, learn=False)
    assert mixture.means.norm(dim=1).tolist() == pytest.approx([separation] * components, rel=1e-5)
    gaps = torch.pdist(mixture.means.double()) / separation
    nearest = 2 * math.sin(math.pi / components) if z_dim == 2 else math.sqrt(2)
    assert components == 1 or gaps.min() >= min(nearest, 2) - 1e-5


@pytest.mark.parametrize("learn", [False, True])
def test_explicit_means_are_multiplied_by_separation(learn):
    mixture = Mixture(3, components=2, separation=2.0, means=[[1, 2, 3], [0, 0, -1]], scale=1.0, learn=learn)
    assert mixture().component_distribution.mean.tolist() == [[2, 4, 6], [0, 0, -2]]


def test_a_learnt_mixture_finds_two_clusters_and_their_shares():
    torch.manual_seed(0)
    z = torch.tensor([[3.0, 1.0]] * 3 + [[-2.0, 0.5]]).repeat(250, 1) + 0.2 * torch.randn(1000, 2)
    mixture = Mixture(
        2, components=2, separation=1.0, means=[[1, 0], [-1, 0]], scale=1.0, learn=True, learn_weights=True
    )
    optimizer = torch.optim.Adam(mixture.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        (-mixture().log_prob(z).mean()).backward()
        optimizer.step()
    assert torch.allclose(mixture.means, torch.tensor([[3.0, 1.0], [-2.0, 0.5]]), atol=0.05)
    assert torch.allclose(mixture().component_distribution.stddev, torch.tensor(0.2), atol=0.02)
    assert mixture().mixture_distribution.probs.tolist() == pytest.approx([0.75, 0.25], abs=1e-3)


@pytest.mark.parametrize("df", [0.05, 1.0, 9.0, 1000.0])
def test_degrees_of_freedom_start_where_they_are_set(df):
    assert StudentT(2, df=df, scale=1.0, learn_df=True).df.item() == pytest.approx(df, rel=1e-5)


def test_learnt_degrees_of_freedom_find_those_of_the_data():
    z = torch.from_numpy(np.random.default_rng(0).standard_t(4.0, (40_000, 2))).float()
    prior = StudentT(2, df=20.0, scale=1.0, learn_df=True)
    optimizer = torch.optim.Adam(prior.parameters(), lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        (-prior().log_prob(z).mean()).backward()
        optimizer.step()
    assert prior.df.item() == pytest.approx(4.0, rel=0.08)


def test_degrees_of_freedom_stay_positive_whatever_an_optimiser_does():
    prior = StudentT(2, df=1.0, scale=1.0, learn_df=True)
    with torch.no_grad():
        prior.raw_df.fill_(-30.0)
    assert prior.df.item() > 0
    assert prior().log_prob(torch.ones(2)).isfinite()


def test_student_t_with_many_degrees_of_freedom_is_the_gaussian():
    z = torch.linspace(-3, 3, 20, dtype=torch.float64).reshape(10, 2)
    student = StudentT(2, df=1e7, scale=1.0, learn_df=False).double()
    assert torch.allclose(student().log_prob(z), Gaussian(2).double()().log_prob(z), atol=1e-5)
