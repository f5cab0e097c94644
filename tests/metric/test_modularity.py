"""Modularity of latents of one factor, of two, and of none."""

import numpy as np
import pytest
from scipy.stats import chi2

from disvae.metric.modularity import Modularity
from disvae.statistics.information import bins, mutual_information

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(size, size=5000) for size in (4, 4, 5, 3)], 1)
PERFECT = FACTORS.astype(float)
modularity = Modularity(bins=20)


def test_latents_of_one_factor_each_have_one():
    scores = modularity(PERFECT, FACTORS)
    assert scores["all_latents"] == pytest.approx(1, abs=1e-3)
    assert scores["weighted"] == 1
    assert scores["weighted/latents"] == 4


def test_a_latent_of_two_factors_alike_loses_one_part_in_factors_less_one():
    pair = (4 * FACTORS[:, :1] + FACTORS[:, 1:2]).astype(float)  # each pair of values has a bin of its own
    scores = modularity(pair, FACTORS)
    assert scores["all_latents"] == pytest.approx(1 - 1 / 3, abs=0.01)
    assert scores["weighted"] == pytest.approx(1 - 1 / 3, abs=0.01)


def test_dead_latents_with_noise_count_among_all_and_not_when_weighted():
    scores = modularity(np.concatenate([PERFECT, RNG.normal(size=(5000, 6))], 1), FACTORS)
    assert scores["weighted"] == 1
    assert scores["weighted/latents"] == 4
    assert scores["all_latents"] < 0.8


def test_latents_weigh_as_much_as_they_know():
    # one latent of factor 2 alone, one of factors 0 and 1: weights log 5 and 2 log 4
    codes = np.stack([FACTORS[:, 2], 4 * FACTORS[:, 0] + FACTORS[:, 1]], 1).astype(float)
    expected = (np.log(5) + 2 * np.log(4) * (1 - 1 / 3)) / (np.log(5) + 2 * np.log(4))
    assert modularity(codes, FACTORS)["weighted"] == pytest.approx(expected, abs=0.01)


def test_all_latents_is_the_formula_by_loops():
    codes = PERFECT @ RNG.normal(size=(4, 5)) + RNG.normal(size=(5000, 5))
    information = mutual_information(bins(codes, 20, "equal_width"), FACTORS)
    by_latent = []
    for m in information:
        best = m.argmax()
        by_latent.append(1 - sum(m[k] ** 2 for k in range(4) if k != best) / (3 * m[best] ** 2))
    assert modularity(codes, FACTORS)["all_latents"] == pytest.approx(np.mean(by_latent), abs=1e-12)


def test_weights_leave_out_what_bias_adds():
    # 2N I is chi-squared with 19 (|v| - 1) degrees of freedom by chance; their mean is taken off where I is beyond it
    codes = PERFECT @ RNG.normal(size=(4, 3)) + 4 * RNG.normal(size=(5000, 3))
    information = mutual_information(bins(codes, 20, "equal_width"), FACTORS)
    known = np.zeros((3, 4))
    for j in range(3):
        for k, size in enumerate((4, 4, 5, 3)):
            if chi2.sf(10_000 * information[j, k], 19 * (size - 1)) < 1e-6:
                known[j, k] = information[j, k] - 19 * (size - 1) / 10_000
    by_latent = 1 - ((known**2).sum(1) / known.max(1) ** 2 - 1) / 3
    assert 0 < (known == 0).sum() < 12
    assert modularity(codes, FACTORS)["weighted"] == pytest.approx((by_latent * known.sum(1)).sum() / known.sum())


def test_latents_that_know_nothing_score_zero_when_weighted():
    for seed in range(5):
        codes = np.random.default_rng(seed).normal(size=(5000, 10))
        scores = modularity(codes, FACTORS)
        assert scores["weighted"] == scores["weighted/latents"] == 0


@pytest.mark.parametrize(
    ("sizes", "N", "D"), [((2,) * 6, 500, 4), ((10,) * 3, 2000, 10), ((3, 40), 1000, 1)], ids=["binary", "equal", "one"]
)
def test_chance_is_what_noise_scores(sizes, N, D):
    rng = np.random.default_rng(3)
    factors = np.stack([rng.integers(size, size=N) for size in sizes], 1)
    factors[:, 0] *= rng.random(N) < 0.3  # unbalanced
    drawn = [modularity(rng.normal(size=(N, D)), factors)["all_latents"] for _ in range(600 // D)]
    stated = modularity.chance(np.zeros((N, D)), factors)
    assert stated["all_latents"] == pytest.approx(np.mean(drawn), abs=0.05)  # of 200 latents, spread .2
    assert stated["weighted"] == 0
    assert 0.05 < stated["all_latents"] < 1


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        Modularity(bins=1)
