"""InfoMEC of codes whose information is known, and the deviations it states."""

import numpy as np
import pytest
from scipy.stats import norm

from disvae.metric.infomec import InfoMEC

RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(size, size=4000) for size in (3, 4, 5)], 1)
PERFECT = FACTORS + 0.05 * RNG.normal(size=FACTORS.shape)
infomec = InfoMEC(neighbours=10, active=0.05, limit=5000)


def test_perfect_codes_have_one_of_each():
    scores = infomec(PERFECT, FACTORS)
    assert scores["modularity"] > 0.97
    assert scores["compactness"] > 0.97
    assert scores["explicitness"] > 0.97
    assert scores["modularity/active_latents"] == 3


def test_duplicated_latents_are_modular_and_not_compact():
    # each factor has two latents of six: (1/2 - 1/6) / (1 - 1/6)
    scores = infomec(np.concatenate([PERFECT, PERFECT], 1), FACTORS)
    assert scores["modularity"] > 0.97
    assert scores["compactness"] == pytest.approx(0.4, abs=0.02)


def test_a_latent_of_two_factors_is_compact_and_not_modular():
    # one latent of the factors 0 and 1 alike (nothing of 2), one of 2: ((1/2 + 1) / 2 - 1/3) / (1 - 1/3)
    codes = np.stack([4 * FACTORS[:, 0] + FACTORS[:, 1], FACTORS[:, 2]], 1) + 0.05 * RNG.normal(size=(4000, 2))
    scores = infomec(codes, FACTORS)
    assert scores["modularity"] == pytest.approx((0.75 - 1 / 3) / (2 / 3), abs=0.02)
    assert scores["compactness"] > 0.97


def test_latents_of_a_small_range_are_left_out():
    noise = RNG.normal(size=(4000, 4))
    wide = np.ptp(PERFECT[:, 2])
    out = infomec(np.concatenate([PERFECT, 0.04 * wide * noise / np.ptp(noise, axis=0)], 1), FACTORS)
    kept = infomec(np.concatenate([PERFECT, 0.06 * wide * noise / np.ptp(noise, axis=0)], 1), FACTORS)
    assert (out["modularity/active_latents"], kept["modularity/active_latents"]) == (3, 7)
    assert out["modularity"] > 0.97
    assert kept["modularity"] < 0.9


def test_explicitness_of_a_gaussian_channel_is_its_information():
    # v = +-1 equally often, z = v + N(0, 1): logistic regression is the true posterior, so InfoE = I(z;v) / log 2
    v = RNG.integers(2, size=(10_000, 2))
    grid = np.linspace(-8, 8, 4001)
    density = (norm.pdf(grid - 1) + norm.pdf(grid + 1)) / 2
    exact = np.trapezoid(-density * np.log(density), grid) - norm.entropy()
    scores = infomec(2 * v - 1 + RNG.normal(size=v.shape), v)
    assert scores["explicitness"] == pytest.approx(exact / np.log(2), abs=0.03)


def test_explicitness_is_of_rows_that_were_not_fitted():
    v = RNG.integers(2, size=(200, 2))
    assert infomec(RNG.normal(size=(200, 60)), v)["explicitness"] == 0  # perfect on the rows that were


def test_one_informative_latent_is_as_compact_as_can_be():
    scores = infomec(PERFECT[:, :1], FACTORS[:, :2], names=("a", "b"))
    assert scores["compactness/a"] == 1
    assert scores["modularity"] > 0.95


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"neighbours": 0, "active": 0.05, "limit": 100}, "neighbours must be at least 1, got 0"),
        ({"neighbours": 1, "active": 1.0, "limit": 100}, "active must be in"),
        ({"neighbours": 1, "active": 0.0, "limit": 10}, "limit must be at least 50, got 10"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        InfoMEC(**settings)
