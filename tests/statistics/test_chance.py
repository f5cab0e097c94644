"""Scores of codes that know nothing, by simulation."""

import numpy as np
import pytest

from disvae.statistics.chance import simulated

FACTORS = np.stack([np.arange(400) % 2, np.arange(400) // 2 % 3], 1)


def test_the_mean_over_standard_normal_codes_of_the_shape_is_taken_of_undetailed_scores():
    seen = []

    def score(codes, factors, names, seed):
        seen.append((codes, seed))
        assert factors is FACTORS
        assert list(names) == ["0", "1"]
        return {"mean": float(codes.mean()), "seed": float(seed), "seed/0": 1.0}

    found = simulated(score, np.full((400, 50), 7.0), FACTORS, 1999)
    assert found == {"mean": pytest.approx(np.mean([codes.mean() for codes, _ in seen])), "seed": 1.5}
    assert [seed for _, seed in seen] == [0, 1, 2, 3]
    drawn = np.stack([codes for codes, _ in seen])
    assert drawn.shape == (4, 400, 50)
    assert drawn.mean() == pytest.approx(0, abs=0.02)  # 5.7 standard errors
    assert drawn.std() == pytest.approx(1, abs=0.015)
    assert len(np.unique(drawn)) == drawn.size


def test_the_codes_are_not_the_numbers_that_the_seed_gives_the_metric():
    def score(codes, factors, names, seed):
        own = np.random.default_rng(seed).standard_normal(codes.shape)
        return {"r": float(np.corrcoef(own.ravel(), codes.ravel())[0, 1])}

    assert simulated(score, np.empty((400, 5)), FACTORS, 1200)["r"] == pytest.approx(0, abs=0.1)


def test_it_is_the_same_each_time():
    def score(codes, factors, names, seed):
        return {"first": float(codes[0, 0])}

    assert simulated(score, np.empty((9, 2)), FACTORS[:9], 18) == simulated(score, np.ones((9, 2)), FACTORS[:9], 18)


@pytest.mark.parametrize(("N", "expected"), [(100, 20), (2500, 20), (5000, 10), (10_000, 5), (700_000, 1)])
def test_fewer_codes_are_drawn_the_more_rows_they_have(N, expected):
    seeds = []

    def score(codes, factors, names, seed):
        seeds.append(seed)
        return {"rows": float(len(codes))}

    assert simulated(score, np.empty((N, 1)), np.zeros((N, 1), int), 50_000) == {"rows": N}
    assert seeds == list(range(expected))
