import numpy as np
import pytest

from disvae.config import resolved
from disvae.metric.mig import MIG
from disvae.pictures.factor_shares import BINS, factor_shares
from disvae.pictures.figure_data import NotDrawable


def test_its_gaps_are_metric_mig_histogram(encoded, composed):
    rng = np.random.default_rng(0)
    factors = {"shape": rng.integers(0, 3, 500), "posX": rng.integers(0, 8, 500) + 2}
    codes = np.stack([factors["posX"], factors["shape"] + factors["posX"], rng.normal(size=500)], 1)
    codes = (codes + 0.3 * rng.normal(size=codes.shape)).astype(np.float32)
    _, view = encoded(codes, factors)
    shares = factor_shares(view).known
    best = np.sort(shares, 0)
    bins = resolved(composed("metric=[mig]"))["metric"]["mig"]["bins"]
    assert bins == BINS
    expected = MIG(bins=bins)(codes, np.stack(list(factors.values()), 1), names=list(factors))
    assert (best[-1] - best[-2]).mean() == pytest.approx(expected["histogram"], abs=1e-12)
    assert best[-1, 1] - best[-2, 1] == pytest.approx(expected["histogram/posX"], abs=1e-12)


def test_a_factor_that_does_not_vary_is_known_by_none(encoded):
    codes = np.random.default_rng(0).normal(size=(500, 2))
    _, view = encoded(codes, {"still": np.full(500, 3), "half": (codes[:, 0] > 0).astype(int)})
    shares = factor_shares(view).known
    assert shares[:, 0].tolist() == [0, 0]
    assert shares[0, 1] > 0.8 > 0.3 > shares[1, 1]


def test_without_factors_there_is_nothing_to_know(encoded):
    _, view = encoded(np.zeros((50, 2)))
    with pytest.raises(NotDrawable, match="must have factors or labels"):
        factor_shares(view)


@pytest.mark.parametrize("N", [14, 100, 1000])
def test_who_knows_nothing_follows_nothing_and_has_the_share_of_chance(encoded, N):
    """2N I is chi-squared where counts are many; where they are few its mean is an upper bound."""
    rng = np.random.default_rng(0)
    sizes = {"two": 2, "ten": 10}
    drawn = [
        factor_shares(encoded(rng.normal(size=(N, 20)), {name: rng.integers(0, n, N) for name, n in sizes.items()})[1])
        for _ in range(5)
    ]
    mean = np.mean([of.known.mean(0) for of in drawn], 0)
    assert not any(of.follows.any() for of in drawn)
    assert (mean <= drawn[0].chance + 0.02).all()
    if N == 1000:
        np.testing.assert_allclose(drawn[0].chance, [19 / 2000 / np.log(2), 19 * 9 / 2000 / np.log(10)], rtol=0.02)
        np.testing.assert_allclose(mean, drawn[0].chance, rtol=0.25)


def test_who_knows_a_factor_follows_it_even_for_few_images(encoded):
    v = np.arange(100) % 4
    noise = np.random.default_rng(0).normal(size=100)
    of = factor_shares(encoded(np.stack([v + 0.1 * noise, noise], 1), {"v": v})[1])
    assert of.follows.tolist() == [[True], [False]]
    assert of.chance[0] == pytest.approx(19 * 3 / 200 / np.log(4))
