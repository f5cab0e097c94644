"""Binning, plug-in and nearest-neighbour information against scikit-learn, NumPy, plain loops and closed forms."""

import numpy as np
import pytest
from scipy.special import digamma
from scipy.stats import norm
from sklearn.feature_selection import mutual_info_classif
from sklearn.metrics import mutual_info_score

from disvae.statistics.information import (
    bins,
    entropy,
    gaps,
    mutual_information,
    neighbour_information,
    plug_in_bias,
)


def sample(N: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Latents that know of factors of 2, 5 and 12 values, and one that does not."""
    rng = np.random.default_rng(seed)
    factors = np.stack([rng.integers(size, size=N) for size in (2, 5, 12)], 1)
    known = factors + rng.normal(size=factors.shape) * [0.5, 1, 1]
    return np.concatenate([known, rng.normal(size=(N, 1))], 1), factors


def test_equal_width_bins_are_those_of_a_histogram():
    codes, _ = sample(3000)
    binned = bins(codes, 20, "equal_width")
    for latent, column in zip(codes.T, binned.T, strict=True):
        counts, edges = np.histogram(latent, 20)
        np.testing.assert_array_equal(np.bincount(column, minlength=20), counts)
        np.testing.assert_array_equal(column, np.digitize(latent, edges[:-1]) - 1)  # as disentanglement_lib


def test_codes_on_edges_keep_their_bin_when_rescaled():
    codes = np.arange(21.0)[:, None]  # every code is an edge of 20 bins
    for scale in (1, 1e-3, 0.1, 1 / 3, 7e3):
        np.testing.assert_array_equal(bins(codes * scale, 20, "equal_width")[:, 0], [*range(20), 19])


def test_quantile_bins_hold_equally_many_and_do_not_change_under_increasing_maps():
    codes, _ = sample(2000)
    binned = bins(codes, 20, "quantile")
    for column in binned.T:
        np.testing.assert_array_equal(np.bincount(column), 100)
    np.testing.assert_array_equal(bins(np.exp(codes), 20, "quantile"), binned)
    outlier = codes.copy()
    outlier[codes.argmax(0), np.arange(4)] = 1e9
    np.testing.assert_array_equal(bins(outlier, 20, "quantile"), binned)


def test_equal_codes_share_a_quantile_bin_and_few_values_have_one_each():
    few = np.array([5.0, 5, 5, 5, 5, 5, -1, 2])[:, None]
    np.testing.assert_array_equal(bins(few, 3, "quantile")[:, 0], [2, 2, 2, 2, 2, 2, 0, 1])
    heavy = np.concatenate([np.zeros(70), np.arange(1, 31)])[:, None]  # 70 of 100 at 0, whose middle is rank 35
    np.testing.assert_array_equal(bins(heavy, 10, "quantile")[:, 0], [3] * 70 + [7] * 10 + [8] * 10 + [9] * 10)


@pytest.mark.parametrize("kind", ["equal_width", "quantile"])
def test_a_constant_latent_has_one_bin(kind):
    assert len(np.unique(bins(np.full((10, 1), 3.7), 20, kind))) == 1


@pytest.mark.parametrize("kind", ["equal_width", "quantile"])
def test_plug_in_information_is_that_of_scikit_learn(kind):
    codes, factors = sample(1500)
    binned = bins(codes, 20, kind)
    information = mutual_information(binned, factors)
    for j in range(4):
        for k in range(3):
            assert information[j, k] == pytest.approx(mutual_info_score(binned[:, j], factors[:, k]), abs=1e-10)
    np.testing.assert_allclose(entropy(factors), [mutual_info_score(v, v) for v in factors.T], atol=1e-10)


def test_two_by_two_by_hand():
    # joint counts 3 1 / 1 3: I = log 2 + (3/4) log(3/4) + (1/4) log(1/4)
    z = np.array([0, 0, 0, 0, 1, 1, 1, 1])[:, None]
    v = np.array([0, 0, 0, 1, 0, 1, 1, 1])[:, None]
    by_hand = np.log(2) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    assert mutual_information(z, v)[0, 0] == pytest.approx(by_hand, abs=1e-12)
    assert entropy(v)[0] == pytest.approx(np.log(2))


def test_no_information_is_exactly_none():
    v = np.tile(np.arange(7), 30)[:, None]
    assert mutual_information(np.zeros((210, 1), np.int64), v)[0, 0] == 0
    assert mutual_information(np.repeat(np.arange(30), 7)[:, None], v)[0, 0] == 0  # every pair once


def test_bias_of_plug_in_information_by_chance_and_none_after_its_correction():
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(size, size=4000) for size in (3, 10)], 1)
    drawn = [bins(rng.normal(size=(4000, 6)), 12, "quantile") for _ in range(60)]
    bias = plug_in_bias(12, factors)
    plug_in = np.mean([mutual_information(binned, factors) for binned in drawn], axis=(0, 1))
    np.testing.assert_allclose(plug_in, bias, rtol=0.04)
    corrected = np.mean([mutual_information(binned, factors, corrected=True) for binned in drawn], axis=(0, 1))
    assert (np.abs(corrected) < 0.04 * bias).all()


def test_corrected_entropies_sum_to_the_corrected_information():
    rng = np.random.default_rng(0)
    z = rng.integers(12, size=(500, 1))
    v = (z + rng.integers(5, size=(500, 1))) // 2
    parts = [
        entropy(column, corrected=True)[0]
        for column in (z, v, np.unique(12 * v + z, return_inverse=True)[1].reshape(-1, 1))
    ]
    assert mutual_information(z, v, corrected=True)[0, 0] == pytest.approx(parts[0] + parts[1] - parts[2], abs=1e-12)


def test_gap_is_to_the_second_best_or_to_nothing():
    information = np.array([[0.1, 2.0], [0.7, 0.5], [0.4, 0.0]])
    np.testing.assert_allclose(gaps(information), [0.3, 1.5])
    np.testing.assert_allclose(gaps(information[:1]), [0.1, 2.0])


def plain_ross(x: np.ndarray, v: np.ndarray, k: int) -> float:
    """Ross 2014 by loops; a value's last k is the number of its others."""
    kept = np.array([(v == value).sum() > 1 for value in v])
    x, v = x[kept], v[kept]
    terms = []
    for i in range(len(x)):
        others = np.delete(np.abs(x - x[i]), i)
        alike = np.sort(others[np.delete(v, i) == v[i]])
        k_i = min(k, len(alike))
        m = (others <= alike[k_i - 1]).sum()
        terms.append(digamma(k_i) - digamma(len(alike) + 1) - digamma(m))
    return max(0.0, digamma(len(x)) + float(np.mean(terms)))


@pytest.mark.parametrize("k", [1, 3, 10])
def test_neighbour_information_is_that_of_plain_loops(k):
    codes, factors = sample(300)
    factors[0, 2] = 12  # a value that occurs once, and below one that has fewer than k others
    factors[1:5, 2] = 13
    information = neighbour_information(codes, factors, k)
    for j in range(4):
        for f in range(3):
            assert information[j, f] == pytest.approx(plain_ross(codes[:, j], factors[:, f], k), abs=1e-9)


def test_neighbour_information_is_that_of_scikit_learn():
    codes, factors = sample(2000)
    information = neighbour_information(codes, factors, 3)
    for k in range(3):
        theirs = mutual_info_classif(codes, factors[:, k], discrete_features=False, n_neighbors=3, random_state=0)
        np.testing.assert_allclose(information[:, k], theirs, atol=1e-3)  # which adds noise of 1e-10 to the codes


def test_estimators_agree_with_a_gaussian_channel():
    # v uniform on 4 levels, z = v + noise: I = H(z) - H(noise), H(z) by quadrature of the mixture
    rng = np.random.default_rng(0)
    v = rng.integers(4, size=(20_000, 1))
    z = v + 0.4 * rng.normal(size=v.shape)
    grid = np.linspace(-4, 7, 20_001)
    density = norm.pdf(grid[:, None], np.arange(4), 0.4).mean(1)
    exact = np.trapezoid(-density * np.log(density), grid) - norm(scale=0.4).entropy()
    assert neighbour_information(z, v, 10)[0, 0] == pytest.approx(exact, abs=0.02)
    assert mutual_information(bins(z, 50, "quantile"), v)[0, 0] == pytest.approx(exact, abs=0.02)
    assert exact > 0.6


def test_repeated_codes_have_the_information_of_their_values():
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(size, size=5000) for size in (3, 20)], 1)
    information = neighbour_information(factors.astype(float), factors, 10)
    np.testing.assert_allclose(np.diag(information), entropy(factors), atol=0.01)
    assert max(information[0, 1], information[1, 0]) < 0.02
    assert neighbour_information(np.ones((5000, 1)), factors, 10).max() == 0


def test_neighbour_information_does_not_change_with_scale_sign_or_place():
    codes, factors = sample(500)
    information = neighbour_information(codes, factors, 5)
    for scale, shift in ((1e-3, 0), (-1e3, 0), (1, 100)):
        np.testing.assert_allclose(neighbour_information(codes * scale + shift, factors, 5), information, atol=1e-3)


def test_values_that_all_occur_once_say_nothing():
    assert neighbour_information(np.arange(20.0)[:, None], np.arange(20)[:, None], 3)[0, 0] == 0
