"""Hoyer sparsity against hand values and published closed forms."""

import numpy as np
import pytest

from disvae.metric.sparsity import Sparsity

hoyer = Sparsity()


def test_codes_with_one_latent_each_score_one():
    codes = np.zeros((200, 5))
    codes[np.arange(200), np.arange(200) % 5] = np.where(np.arange(200) % 2, 1, -1)
    assert hoyer(codes) == pytest.approx({"hoyer": 1, "hoyer_raw": 1}, abs=1e-12)


def test_codes_of_equal_magnitude_score_zero():
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (200, 5))
    # each latent's standard deviation is a little off 1
    assert hoyer(codes) == pytest.approx({"hoyer": 0, "hoyer_raw": 0}, abs=1e-4)
    assert hoyer(codes)["hoyer_raw"] == pytest.approx(0, abs=1e-12)


def test_a_hand_worked_row():
    codes = np.tile(
        [[3.0, 4.0, 0.0, 0.0], [-3.0, 4.0, 0.0, 0.0]], (50, 1)
    )  # |z|_1 = 7, |z|_2 = 5; latent 1 is constant
    assert hoyer(codes)["hoyer_raw"] == pytest.approx(1)
    codes[0, 1] = 0
    ratio = (99 * 7 / 5 + 1) / 100
    assert hoyer(codes)["hoyer_raw"] == pytest.approx((2 - ratio) / 1)


def test_latents_are_divided_by_their_deviation_and_not_centred():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((100, 3)) * [1, 5, 0.1] + [0, 1, 2]
    z = codes / codes.std(0, ddof=1)
    plain = np.mean([(3**0.5 - np.abs(row).sum() / np.sqrt((row**2).sum())) / (3**0.5 - 1) for row in z])
    assert hoyer(codes)["hoyer"] == pytest.approx(plain, abs=1e-12)


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 0.23075), (0.8, 0.651), (0.9, 0.690)])
def test_samples_of_the_sparse_prior_have_its_sparsity(gamma, expected):
    rng = np.random.default_rng(0)
    spike = rng.random((20_000, 50)) < gamma
    codes = rng.standard_normal((20_000, 50)) * np.where(spike, 0.05, 1)
    assert hoyer(codes)["hoyer"] == pytest.approx(expected, abs=1e-3)
    if gamma == 0:
        assert hoyer.chance(codes, np.zeros((20_000, 0)))["hoyer"] == pytest.approx(expected, abs=1e-3)


def test_only_the_raw_score_depends_on_scale():
    codes = np.random.default_rng(0).standard_normal((500, 4))
    scaled = codes * [1, 1e-3, -1e3, 1]
    assert hoyer(scaled)["hoyer"] == pytest.approx(hoyer(codes)["hoyer"], abs=1e-12)
    assert hoyer(scaled)["hoyer_raw"] > 0.99


def test_a_dead_latent_counts_as_zero_and_collapsed_codes_score_zero():
    codes = np.random.default_rng(0).standard_normal((500, 4))
    dead = np.insert(codes, 2, 0.1, axis=1)
    zero = np.insert(codes, 2, 0.0, axis=1)
    assert hoyer(dead) == hoyer(zero)
    assert hoyer(np.full((100, 4), 0.1)) == {"hoyer": 0, "hoyer_raw": 0}
    assert hoyer(codes[:, :1]) == {"hoyer": 0, "hoyer_raw": 0}
