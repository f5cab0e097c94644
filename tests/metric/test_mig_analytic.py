"""MIG of q(z|x): float64 loops, quadrature of Gaussian channels, and the bias of a part of the population."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    Laplace,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    StudentT,
)

from disvae.encoding import Encoding
from disvae.metric import NotApplicable
from disvae.metric.mig_analytic import MIGAnalytic


def gaussian(h: Tensor) -> Distribution:
    loc, scale = h.chunk(2, 1)
    return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


def encoding(
    loc: np.ndarray, scale: np.ndarray | float, factors: np.ndarray, population: int | None = None
) -> Encoding:
    h = np.concatenate([loc, np.broadcast_to(scale, loc.shape)], 1)
    names = tuple("abcde"[: factors.shape[1]])
    return Encoding(
        loc.astype(np.float32), factors, names, population, h=torch.from_numpy(h).float(), posterior=gaussian
    )


def channel(scale: float) -> float:
    """I(z;v) of v uniform on 0 to 3 and z = v + N(0, scale^2), by quadrature."""
    grid = np.linspace(-6, 9, 20_001)
    density = norm.pdf(grid[:, None], np.arange(4), scale).mean(1)
    density = np.maximum(density, 1e-300)
    return float(np.trapezoid(-density * np.log(density), grid) - norm(scale=scale).entropy())


GRID = np.stack(np.meshgrid(np.arange(4), np.arange(4), np.arange(25), indexing="ij"), -1).reshape(-1, 3)[:, :2]


def test_gaussian_channels_have_their_information():
    # two latents say v_a with noise .5 and 1, and one v_b with noise .5
    loc = np.stack([GRID[:, 0], GRID[:, 0], GRID[:, 1]], 1).astype(float)
    scores = MIGAnalytic(samples=400)(encoding(np.tile(loc, (20, 1)), [0.5, 1, 0.5], np.tile(GRID, (20, 1))))
    many = MIGAnalytic(samples=8000)(encoding(np.tile(loc, (20, 1)), [0.5, 1, 0.5], np.tile(GRID, (20, 1))))
    of_a = (channel(0.5) - channel(1)) / np.log(4)
    of_b = channel(0.5) / np.log(4)
    for name, exact in (("mig/a", of_a), ("mig/b", of_b), ("mig", (of_a + of_b) / 2)):
        for found in (scores, many):
            assert found[name] == pytest.approx(exact, abs=3 * found[f"{name}_se"])
        assert many[f"{name}_se"] < 0.01
    assert scores["mig_se"] > 3 * many["mig_se"]


def test_information_is_that_of_float64_loops():
    rng = np.random.default_rng(0)
    N = 60
    factors = np.stack([np.arange(N) % 3, np.arange(N) % 2], 1)
    loc, scale = rng.normal(size=(N, 3)) + factors[:, :1], rng.uniform(0.05, 1, size=(N, 3))
    torch.manual_seed(4)
    rows = torch.randperm(N)
    h = torch.from_numpy(np.concatenate([loc, scale], 1)).float()
    z = gaussian(h[rows]).sample().numpy()
    information = np.zeros((3, 2))
    for j in range(3):
        for z_s, n in zip(z[:, j], rows.numpy(), strict=True):
            p = norm.pdf(z_s, loc[:, j], scale[:, j])
            for k in range(2):
                information[j, k] += np.log(p[factors[:, k] == factors[n, k]].mean() / p.mean()) / N
    top = np.sort(np.maximum(information, 0), axis=0)[::-1]
    scores = MIGAnalytic(samples=N)(encoding(loc, scale, factors), seed=4)
    np.testing.assert_allclose([scores["mig/a"], scores["mig/b"]], (top[0] - top[1]) / np.log([3, 2]), atol=1e-5)


def test_collapsed_posteriors_and_duplicated_latents_score_zero():
    nothing = MIGAnalytic(samples=300)(encoding(np.zeros((len(GRID), 3)), 1.0, GRID))
    assert nothing["mig"] == pytest.approx(0, abs=1e-6)
    twice = MIGAnalytic(samples=400)(encoding(np.concatenate([GRID, GRID], 1).astype(float), 0.01, GRID))
    assert twice["mig"] == pytest.approx(0, abs=1e-3)


def test_narrow_posteriors_of_perfect_codes_score_one_at_any_scale():
    for scale in (1e-3, 1, 1e3):
        scores = MIGAnalytic(samples=400)(encoding(scale * GRID.astype(float), 0.01 * scale, GRID))
        assert scores["mig"] == pytest.approx(1, abs=1e-3)


def test_a_single_latent_is_second_to_nothing():
    scores = MIGAnalytic(samples=400)(encoding(GRID[:, :1].astype(float), 0.01, GRID))
    assert scores["mig/a"] == pytest.approx(1, abs=1e-3)
    assert scores["mig/b"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("scale", [0.02, 0.05])
def test_part_of_a_population_scores_nearer_the_whole_than_by_the_published_weights(scale):
    # v of 10 values and another factor of 2000: latent 0 says v, latent 1 the other; information of 1 on v is 0
    v, other = (x.ravel() for x in np.meshgrid(np.arange(10), np.arange(2000), indexing="ij"))
    loc = np.stack([v + 2.0 * other / 2000, 4.0 * other / 2000], 1)
    factors = np.stack([v, other % 2], 1)
    whole = MIGAnalytic(samples=1500)(encoding(loc, scale, factors))
    rng = np.random.default_rng(0)
    errors = []
    for seed in range(3):
        rows = rng.permutation(len(v))[:1500]
        scores = MIGAnalytic(samples=1500)(encoding(loc[rows], scale, factors[rows], len(v)), seed=seed)
        names = ("mig/a", "mig", "mig/self_included")
        errors.append([scores["mig/a"] - whole["mig/a"]] + [scores[name] - whole["mig"] for name in names[1:]])
    of_a, error, self_included = np.mean(errors, 0)
    assert abs(of_a) < 0.02
    assert abs(error) < 0.5 * abs(self_included)


def test_the_whole_population_needs_no_weights():
    scores = MIGAnalytic(samples=100)(encoding(GRID.astype(float), 0.3, GRID, len(GRID)))
    assert not {"mig/self_included", "mig/population_weighted"} & scores.keys()
    same = MIGAnalytic(samples=100)(encoding(GRID.astype(float), 0.3, GRID, None))
    assert scores == same


@pytest.mark.parametrize("scale", [1e-4, 0.01])
def test_values_of_few_encoded_images_do_not_lift_it_above_one(scale):
    # 1,000 images of 100,000: most of the 1,000 values have one, two or none
    rng = np.random.default_rng(0)
    v = np.unique(rng.integers(0, 1000, 1000), return_inverse=True)[1]
    other = rng.integers(0, 3, 1000)
    loc = np.stack([v / 100, other], 1)
    scores = MIGAnalytic(samples=1000)(encoding(loc, scale, np.stack([v, other], 1), 100_000))
    for name in ("mig", "mig/a", "mig/b", "mig/self_included", "mig/population_weighted"):
        assert scores[name] <= 1 + 1e-3, name
    assert scores["mig/a"] > 0.7
    assert scores["mig/b"] == pytest.approx(1, abs=1e-3)


def test_a_value_of_one_image_is_left_out_of_a_part_and_kept_of_a_whole():
    # three values of one image, which a mixture of one makes as sure as can be; latent 1 tells the second factor
    v = np.r_[np.arange(60) % 4, 4, 5, 6]
    other = np.arange(63) % 2
    loc = np.stack([np.where(v < 4, v, 2), other], 1).astype(float)
    factors = np.stack([v, other], 1)
    known = np.log(63 / np.bincount(loc[:, 0].astype(int)))[loc[:, 0].astype(int)]  # images of a value are alike
    n = np.bincount(v)[v]
    both = np.array([((v == a) & (other == b)).sum() for a, b in factors])
    second = np.log(both / n) - np.log(np.bincount(other)[other] / 63)  # what the second factor says of the first
    for population, kept in ((63, n > 0), (None, n > 1)):
        scores = MIGAnalytic(samples=63)(encoding(loc, 1e-3, factors, population))
        part = known[kept] - second[kept] * (second[kept].mean() > 0)
        H = -np.log(n[kept] / 63).mean()
        assert scores["mig/a"] == pytest.approx(part.mean() / H, abs=1e-3)
        assert scores["mig/a_se"] == pytest.approx(part.std() / H / kept.sum() ** 0.5, rel=0.02)


def test_a_factor_of_single_images_alone_scores_zero_in_a_part():
    factors = np.stack([np.arange(200), np.arange(200) % 2], 1)
    scores = MIGAnalytic(samples=200)(encoding(factors.astype(float), 0.01, factors, 10_000))
    assert scores["mig/a"] == scores["mig/a_se"] == 0


@pytest.mark.parametrize("family", ["laplace", "student_t", "full_gaussian"])
def test_other_families_have_known_marginals(family):
    loc = torch.from_numpy(GRID).float()
    tril = 0.01 * torch.tensor([[1.0, 0.0], [0.5, 1.0]])

    def posterior(h: Tensor) -> Distribution:
        if family == "full_gaussian":
            return MultivariateNormal(h, scale_tril=tril.expand(len(h), 2, 2), validate_args=False)
        latents = Laplace(h, 0.01) if family == "laplace" else StudentT(5.0, h, 0.01)
        return Independent(latents, 1)

    scores = MIGAnalytic(samples=400)(Encoding(loc.numpy(), GRID, ("a", "b"), h=loc, posterior=posterior))
    assert scores["mig"] == pytest.approx(1, abs=0.01)


def test_unknown_marginals_are_not_applicable():
    def posterior(h: Tensor) -> Distribution:
        return MixtureSameFamily(
            Categorical(torch.ones(len(h), 2)), Independent(Normal(h[:, None].repeat(1, 2, 1), 1.0), 1)
        )

    loc = torch.from_numpy(GRID).float()
    with pytest.raises(NotApplicable, match="type posterior=gaussian"):
        MIGAnalytic(samples=100)(Encoding(loc.numpy(), GRID, ("a", "b"), h=loc, posterior=posterior))


def test_the_seed_decides_and_the_random_state_outside_stays():
    given = encoding(GRID.astype(float), 0.5, GRID)
    before = torch.get_rng_state()
    first, again, other = (MIGAnalytic(samples=100)(given, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    assert first == again != other


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="samples must be at least 2, got 1"):
        MIGAnalytic(samples=1)
