"""MIG of codes whose information is known, of the literature's ceilings, and against plain loops."""

import numpy as np
import pytest

from disvae.evaluation.confidence import of_codes
from disvae.metric.mig import MIG
from tests.metric import plain

SIZES = (3, 6, 40, 32, 32)  # dSprites
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(size, size=10_000) for size in SIZES], 1)
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
NOISE = RNG.normal(size=PERFECT.shape)
mig = MIG(bins=20)


def test_perfect_codes_have_the_ceiling_of_twenty_bins():
    scores = mig(np.concatenate([PERFECT, NOISE], 1), FACTORS)
    assert scores["histogram"] == pytest.approx(0.895, abs=0.003)
    assert scores["quantile"] == pytest.approx(0.895, abs=0.003)
    assert scores["histogram/0"] == pytest.approx(1, abs=0.003)  # 3 values fit 20 bins
    # 40 values in pairs hold log 20 of log 40, and the second best has 19 x 39 / 2N by chance
    assert scores["histogram/2"] == pytest.approx((np.log(20) - 19 * 39 / 20_000) / np.log(40), abs=0.003)


def test_one_outlier_ruins_the_histogram_and_not_the_quantiles():
    codes = np.concatenate([PERFECT, NOISE], 1)
    codes[0, :5] = 1e4
    scores = mig(codes, FACTORS)
    assert scores["histogram"] < 0.01
    assert scores["quantile"] == pytest.approx(0.895, abs=0.003)


def test_random_rotations_of_perfect_codes_score_low():
    rotated = [
        mig(PERFECT @ np.linalg.qr(np.random.default_rng(i).normal(size=(5, 5)))[0], FACTORS)["histogram"]
        for i in range(30)
    ]
    assert np.mean(rotated) == pytest.approx(0.13, abs=0.06)


def test_duplicated_latents_score_zero():
    scores = mig(np.concatenate([PERFECT, 3 * PERFECT], 1), FACTORS)
    assert scores["histogram"] == pytest.approx(0, abs=1e-4)
    assert scores["quantile"] == pytest.approx(0, abs=1e-4)


def test_two_by_two_by_hand():
    # latent 0 is v_0; latent 1 has joint counts 3 1 / 1 3 with it: the gap is that of their information
    v = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 20)
    w = np.repeat([0, 0, 0, 1, 0, 1, 1, 1], 20)
    known = np.log(2) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    scores = mig(np.stack([v, w], 1).astype(float), np.stack([v, v], 1), names=("a", "b"))
    assert scores["histogram/a"] == scores["histogram/b"] == pytest.approx(1 - known / np.log(2), abs=1e-12)


def test_a_single_latent_is_second_to_nothing():
    scores = mig(FACTORS[:, :1].astype(float), FACTORS[:, :2])
    assert scores["histogram/0"] == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("quantile", [False, True])
def test_the_score_is_that_of_plain_loops(quantile):
    codes = PERFECT[:2000] @ RNG.normal(size=(5, 6)) + RNG.normal(size=(2000, 6))
    scores = mig(codes, FACTORS[:2000])
    expected = plain.mig(codes, FACTORS[:2000], 20, quantile)
    assert scores["quantile" if quantile else "histogram"] == pytest.approx(expected, abs=1e-9)


def test_the_corrected_score_of_few_images_and_its_interval_are_right_of_all_images():
    factors = np.indices((3, 6, 10, 16, 8)).reshape(5, -1).T  # a whole grid
    codes = (factors - factors.mean(0)) / factors.std(0) + 0.3 * np.random.default_rng(0).normal(size=factors.shape)
    whole = mig(codes, factors)
    assert whole["quantile_corrected"] == pytest.approx(whole["quantile"], abs=0.001)
    bias, held = {}, {}
    for name in ("quantile", "quantile_corrected"):
        draws = []
        for seed in range(10):
            rows = np.random.default_rng(seed).permutation(len(codes))[:1500]
            settings = {"population": len(codes), "repeats": 8, "seed": seed, "with_chance": False}
            draws.append(of_codes(mig, [codes[rows]], factors[rows], "abcde", **settings).scores[name])
        bias[name] = np.mean([draw.value for draw in draws]) - whole[name]
        held[name] = sum(draw.low < whole[name] < draw.high for draw in draws)
    assert bias["quantile"] < -0.01
    assert abs(bias["quantile_corrected"]) < 0.004
    assert held["quantile"] <= 3
    assert held["quantile_corrected"] >= 8


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        MIG(bins=1)
