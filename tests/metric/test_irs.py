"""Interventional robustness worked by hand, and of noise."""

import numpy as np
import pytest

from disvae.metric.irs import IRS

N = 4000
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, N) for size in (3, 6, 8)], axis=1)
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
worst = IRS(quantile=1)


def test_a_small_case_by_hand():
    #             first factor 0            first factor 1
    z = np.array([-3.0, -1.0, -3.0, -1.0, 1.0, 3.0, 1.0, 3.0])
    factors = np.array([[0, 0], [0, 1], [0, 0], [0, 1], [1, 0], [1, 1], [1, 0], [1, 1]])
    codes = np.stack([z, 10 * np.tile([0.0, 1.0], 4)], axis=1)
    # z is at most 3 from its mean 0, 1 from its means -2 and 2 with the first factor fixed, 2 with the second. The
    # other latent, at most 5 from its mean, is the second factor.
    scores = worst.score(codes, factors, ["a", "b"], 0)
    assert scores["irs/unweighted"] == pytest.approx(((1 - 1 / 3) + 1) / 2)
    assert scores["irs"] == pytest.approx((3 * (1 - 1 / 3) + 5 * 1) / 8)


def test_values_count_by_their_rows_and_single_rows_not_at_all():
    z = np.array([0.0, 2, 0, 2, 0, 2, 5, 13, 100])
    factor = np.array([0, 0, 0, 0, 0, 0, 1, 1, 2])
    codes, factors = z[:, None], np.stack([factor, factor], axis=1)
    overall = 100 - z.mean()
    assert worst.score(codes, factors, ["a", "b"], 0)["irs"] == pytest.approx(1 - (6 * 1 + 2 * 4) / 8 / overall)


def test_a_quantile_forgives_single_rows():
    codes = PERFECT.copy()
    codes[5] += 50
    assert worst(codes, FACTORS)["irs"] < 0.95
    assert worst(PERFECT, FACTORS)["irs"] == IRS(quantile=0.99)(PERFECT, FACTORS)["irs"] == pytest.approx(1)
    assert IRS(quantile=0.99)(codes, FACTORS)["irs"] > 0.98


def test_duplicates_do_not_lower_it_and_mixtures_do():
    assert worst(np.concatenate([PERFECT, PERFECT], axis=1), FACTORS)["irs"] == pytest.approx(1)
    assert worst(PERFECT @ np.linalg.qr(RNG.normal(size=(3, 3)))[0], FACTORS)["irs"] < 0.7


@pytest.mark.parametrize("quantile", [0.9, 0.99, 1])
@pytest.mark.parametrize("rows", [150, N])
def test_chance_is_what_noise_scores(quantile, rows):
    metric = IRS(quantile=quantile)
    draws = [metric(np.random.default_rng(s).normal(size=(rows, 5)), FACTORS[:rows])["irs"] for s in range(10)]
    chance = metric.chance(np.empty((rows, 5)), FACTORS[:rows])["irs"]
    assert np.mean(draws) == pytest.approx(chance, abs=0.03)


def test_chance_knows_that_few_rows_of_a_value_are_close_to_their_mean():
    sixes = np.stack([np.arange(480) // 6, RNG.permutation(480) // 6], axis=1)
    draws = [worst(np.random.default_rng(s).normal(size=(480, 5)), sixes)["irs"] for s in range(20)]
    assert np.mean(draws) == pytest.approx(worst.chance(np.empty((480, 5)), sixes)["irs"], abs=0.025)
    assert np.mean(draws) > 0.5


def test_common_scale_sign_and_order_do_not_matter_and_a_latents_own_scale_does():
    codes = PERFECT + [0.1, 0.5, 1] * RNG.normal(size=(N, 3))
    exact = worst(codes, FACTORS)
    assert worst(codes[:, [2, 0, 1]] * [1e3, -1e3, 1e3] + 7, FACTORS) == pytest.approx(exact)
    scaled = worst(codes * [1e3, 1, 1], FACTORS)
    assert scaled["irs/unweighted"] == pytest.approx(exact["irs/unweighted"])
    assert scaled["irs"] > exact["irs"] + 0.1  # the good latent now counts for all


def test_constant_latents_do_not_count():
    flat = np.full((N, 2), 0.1)
    assert worst(flat, FACTORS) == {"irs": 0.0, "irs/unweighted": 0.0}
    codes = PERFECT + RNG.normal(size=(N, 3))
    assert worst(np.concatenate([flat, codes], 1), FACTORS) == pytest.approx(worst(codes, FACTORS))


def test_a_factor_whose_values_are_all_different_says_nothing():
    factors = np.stack([np.arange(N), np.arange(N)[::-1]], axis=1)
    assert worst(PERFECT, factors)["irs"] == 0
    assert worst.chance(PERFECT, factors) == {"irs": 0}


def test_latents_that_fire_rarely_are_not_below_zero():
    # 1 in 0.9 % of the rows, else 0 but for noise: the 0.99 quantile is that of noise overall, and 1 in some values
    z = np.where(RNG.random((N, 4)) < 0.009, 1, 0) + 1e-3 * RNG.normal(size=(N, 4))
    for metric in (worst, IRS(quantile=0.99)):
        scores = metric(z, FACTORS)
        assert all(0 <= value < 0.3 for value in scores.values())
    assert IRS(quantile=0.99)(z, FACTORS)["irs/unweighted"] < 0.01


@pytest.mark.parametrize("quantile", [0, 1.01, float("nan")])
def test_settings_are_checked_at_the_door(quantile):
    with pytest.raises(ValueError, match=f"quantile must be above 0 and at most 1, got {quantile}"):
        IRS(quantile=quantile)
