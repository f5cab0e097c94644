"""The FactorVAE score on codes whose score is known, and against a loop over its votes."""

import numpy as np
import pytest

from disvae.metric.factor_vae import FactorVAE
from tests.metric import plain

SIZES = (3, 6, 8, 8)
N = 4000
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, N) for size in SIZES], axis=1)
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
NOISE = RNG.normal(size=(N, 3))


def score(codes: np.ndarray, rows: int = 32, prune: float = 0.05, held_out_votes: int = 2000) -> dict[str, float]:
    return FactorVAE(rows=rows, votes=2000, held_out_votes=held_out_votes, prune=prune)(codes, FACTORS)


def test_a_perfect_code_scores_one_in_any_order_beside_noise():
    assert score(PERFECT)["held_out"] == 1
    codes = np.concatenate([NOISE, -PERFECT], axis=1)[:, [4, 0, 6, 1, 3, 5, 2]]
    scores = score(codes)
    assert scores["held_out"] == scores["held_out/unpruned"] == 1
    assert scores["held_out/active_latents"] == 7


def test_a_missed_factor_costs_its_votes_unless_a_dead_latent_takes_them():
    codes = np.concatenate([PERFECT[:, :3], 0.01 * NOISE], axis=1)
    scores = score(codes)
    assert scores["held_out"] == pytest.approx(0.75, abs=0.001)  # posY fixed: one of the other three latents votes
    assert scores["held_out/unpruned"] > 0.85  # nothing varies less than it should, so the dead ones name posY
    assert scores["held_out/active_latents"] == 3
    assert score(codes, prune=0)["held_out"] == scores["held_out/unpruned"]


def test_codes_that_ignore_the_factors_score_as_chance_says():
    metric = FactorVAE(rows=64, votes=1000, held_out_votes=1000, prune=0.05)
    draws = [np.random.default_rng(seed).normal(size=(100, 10)) for seed in range(10)]
    scores = [metric(codes, FACTORS[:100], seed=seed) for seed, codes in enumerate(draws)]
    assert metric.chance(draws[0], FACTORS) == {"held_out": 0.25}
    assert np.mean([s["held_out"] for s in scores]) == pytest.approx(0.25, abs=0.04)
    assert np.mean([s["held_out/train"] for s in scores]) > 0.35  # of the votes that made the table


def test_it_is_the_loop_over_votes():
    codes = PERFECT @ np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0] + 0.5 * RNG.normal(size=(N, 4))
    codes = np.concatenate([codes, 0.02 * NOISE], axis=1)
    loop = plain.factor_vae(codes, FACTORS, 16, (2000, 2000), 0.05, np.random.default_rng(0))
    assert 0.4 < loop < 0.9
    assert score(codes, rows=16)["held_out"] == pytest.approx(loop, abs=0.04)


def test_two_rows_tell_less_than_many():
    codes = PERFECT + RNG.normal(size=(N, 4))
    assert score(codes, rows=2)["held_out"] + 0.1 < score(codes, rows=64)["held_out"]


def test_scale_matters_to_pruning_alone():
    codes = PERFECT + 0.3 * RNG.normal(size=(N, 4))
    scaled = score(codes * [1e-3, 1e3, -1, 10] + 5)
    assert scaled["held_out/unpruned"] == score(codes)["held_out/unpruned"]
    assert scaled["held_out/active_latents"] == 3
    assert scaled["held_out"] < score(codes)["held_out"]
    assert score(codes * 0.01)["held_out"] == 0  # all pruned


def test_constant_latents_have_no_vote():
    flat = np.full((N, 2), 0.1)
    assert set(score(flat, prune=0).values()) == {0.0}
    assert score(np.concatenate([flat, PERFECT], axis=1), prune=0)["held_out/active_latents"] == 4
    assert score(np.concatenate([flat, PERFECT], axis=1), prune=0)["held_out"] == 1


@pytest.mark.parametrize(
    ("setting", "value"), [("rows", 1), ("votes", 99), ("held_out_votes", 99), ("prune", -0.1), ("prune", float("nan"))]
)
def test_settings_are_checked_at_the_door(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be .*got {value}"):
        FactorVAE(**({"rows": 2, "votes": 100, "held_out_votes": 100, "prune": 0.05} | {setting: value}))
