"""JEMMIG by hand, and what it asks beyond MIG."""

import numpy as np
import pytest

from disvae.metric.jemmig import JEMMIG

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(20, size=4000), RNG.integers(20, size=4000)], 1)
jemmig = JEMMIG(bins=20)


def test_two_by_two_by_hand():
    # z_0 = v, z_1 has joint counts 3 1 / 1 3 with it: H(z_0, v) = I(z_0;v) = log 2, so JEMMIG = I(z_1;v)
    v = np.repeat([0, 0, 0, 0, 1, 1, 1, 1], 20)
    w = np.repeat([0, 0, 0, 1, 0, 1, 1, 1], 20)
    known = np.log(2) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25)
    scores = JEMMIG(bins=2)(np.stack([v, w], 1).astype(float), np.stack([v, v], 1), names=("a", "b"))
    assert scores["jemmig/a"] == scores["jemmig"] == pytest.approx(known, abs=1e-12)
    assert scores["normalised/b"] == scores["normalised"] == pytest.approx(1 - known / (2 * np.log(2)), abs=1e-12)


def test_noise_in_the_latent_costs_its_entropy():
    # z = (v, u): u has two values that v says nothing of, so H(z, v) is log 2 more than for z = v
    v = np.tile(np.arange(4), 1000)
    u = np.repeat([0, 1], 2000)
    other = np.repeat(np.tile([0, 1], 10), 200)
    factors = np.stack([v, v], 1)
    pure = JEMMIG(bins=8)(np.stack([v, other], 1).astype(float), factors)
    mixed = JEMMIG(bins=8)(np.stack([2 * v + u, other], 1).astype(float), factors)
    assert pure["jemmig"] == pytest.approx(0, abs=1e-9)
    assert pure["normalised"] == pytest.approx(1, abs=1e-9)
    assert mixed["jemmig"] == pytest.approx(np.log(2), abs=1e-9)
    assert mixed["normalised"] == pytest.approx(1 - np.log(2) / (np.log(4) + np.log(8)), abs=1e-9)


def test_duplicated_latents_lose_the_gap():
    scores = jemmig(np.concatenate([FACTORS, FACTORS], 1).astype(float), FACTORS)
    assert scores["jemmig"] == pytest.approx(np.log(20), abs=0.01)
    assert scores["normalised"] == pytest.approx(0.5, abs=0.01)


def test_a_single_latent_has_no_second():
    scores = jemmig(FACTORS[:, :1].astype(float), FACTORS)
    assert scores["jemmig/0"] == pytest.approx(0, abs=0.01)


def test_collapsed_codes_are_worth_nothing():
    scores = jemmig(np.ones((4000, 3)), FACTORS)
    assert scores["normalised"] == 0
    assert scores["jemmig"] == pytest.approx(np.log(20), abs=0.01)  # H(v): the worst would add log bins


@pytest.mark.parametrize(("N", "D"), [(300, 4), (2000, 1)])
def test_chance_is_what_noise_scores(N, D):
    factors = np.stack([RNG.integers(size, size=N) for size in (2, 3, 10)], 1)
    drawn = [jemmig(RNG.normal(size=(N, D)), factors) for _ in range(60)]
    for name, stated in jemmig.chance(np.empty((N, D)), factors).items():
        values = [scores[name] for scores in drawn]
        assert stated == pytest.approx(np.mean(values), abs=3 * np.std(values) * (1 / 5 + 1 / 60) ** 0.5), name


def test_too_few_bins_are_refused():
    with pytest.raises(ValueError, match="bins must be at least 2, got 1"):
        JEMMIG(bins=1)
