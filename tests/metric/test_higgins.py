"""The beta-VAE score on codes whose score is known, and against a loop over its votes."""

import numpy as np
import pytest

from disvae.metric.higgins import Higgins
from tests.metric import plain

SIZES = (3, 6, 8, 8)
N = 4000
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, N) for size in SIZES], axis=1)
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
ROTATED = PERFECT @ np.linalg.qr(RNG.normal(size=(4, 4)))[0]


def score(codes: np.ndarray, pairs: int = 32, **settings: int) -> dict[str, float]:
    return Higgins(pairs=pairs, **({"votes": 2000, "held_out_votes": 2000} | settings))(codes, FACTORS)


def test_a_perfect_code_scores_one_and_so_does_one_that_misses_a_factor():
    assert score(PERFECT)["standardised"] == score(PERFECT)["raw"] == 1
    missing = np.concatenate([PERFECT[:, 1:], RNG.normal(size=(N, 1))], axis=1)
    assert score(missing)["standardised"] == 1  # the criticism of Kim and Mnih
    assert score(np.delete(missing, 0, axis=1))["standardised"] < 0.9  # of two that are missed one cannot be told


def test_codes_that_ignore_the_factors_score_as_chance_says():
    codes = np.random.default_rng(1).normal(size=(N, 6))
    scores = score(codes, held_out_votes=4000)
    chance = Higgins(pairs=1, votes=100, held_out_votes=100).chance(codes, FACTORS)
    assert scores["standardised"] == pytest.approx(chance["standardised"], abs=0.03)
    assert scores["raw"] == pytest.approx(chance["raw"], abs=0.03)
    assert chance == {"standardised": 0.25, "raw": 0.25}


def test_few_rows_do_not_lift_noise_above_chance():
    """Votes that share rows with those learnt from would: the classifier learns these rows."""
    metric = Higgins(pairs=64, votes=1000, held_out_votes=1000)
    draws = [np.random.default_rng(seed).normal(size=(100, 10)) for seed in range(10)]
    scores = [metric(codes, FACTORS[:100], seed=seed) for seed, codes in enumerate(draws)]
    assert np.mean([s["standardised"] for s in scores]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([s["standardised/train"] for s in scores]) > 0.35


def test_it_is_the_loop_over_votes():
    codes = ROTATED + 0.5 * RNG.normal(size=(N, 4))
    codes[:, 0] *= 0.02
    ours = score(codes, pairs=8)
    loop = plain.higgins(codes, FACTORS, 8, (1500, 1500), np.random.default_rng(0))
    assert 0.3 < loop["raw"] < loop["standardised"] - 0.02 < 0.95
    assert ours["standardised"] == pytest.approx(loop["standardised"], abs=0.04)
    assert ours["raw"] == pytest.approx(loop["raw"], abs=0.04)


def test_more_pairs_forgive_a_rotation():
    few, many = score(ROTATED, pairs=4)["standardised"], score(ROTATED, pairs=256)["standardised"]
    assert few < 0.85
    assert many > 0.97


def test_scale_matters_to_raw_alone():
    scale = np.array([1e-3, 1, 1e2, -1e3])
    exact, scaled = score(ROTATED), score(ROTATED * scale)
    assert scaled["standardised"] == pytest.approx(exact["standardised"], abs=1e-3)
    assert scaled["raw"] < exact["raw"] - 0.05  # the penalty keeps the classifier from the latent of scale 1e-3


def test_constant_latents_say_nothing():
    flat = np.full((N, 2), 0.1)
    assert set(score(flat).values()) == {0.0}
    assert score(np.concatenate([flat, PERFECT], axis=1)) == pytest.approx(score(PERFECT), abs=1e-3)


@pytest.mark.parametrize(("setting", "least"), [("pairs", 1), ("votes", 100), ("held_out_votes", 100)])
def test_settings_are_checked_at_the_door(setting, least):
    with pytest.raises(ValueError, match=f"{setting} must be at least {least}, got {least - 1}"):
        Higgins(**({"pairs": 1, "votes": 100, "held_out_votes": 100} | {setting: least - 1}))
