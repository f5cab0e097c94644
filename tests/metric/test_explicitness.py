"""Explicitness: areas against scikit-learn, and codes whose areas are known."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from disvae.metric.explicitness import Explicitness, areas

RNG = np.random.default_rng(0)
explicitness = Explicitness(limit=5000)


def test_areas_are_those_of_scikit_learn():
    v = RNG.integers(4, size=500)
    scores = RNG.normal(size=(500, 4)).round(1) + 0.5 * (v[:, None] == np.arange(4))  # with ties
    assert areas(scores, v) == pytest.approx(np.mean([2 * roc_auc_score(v == c, scores[:, c]) - 1 for c in range(4)]))
    assert areas(scores, np.minimum(v, 2)) == pytest.approx(
        np.mean([2 * roc_auc_score(np.minimum(v, 2) == c, scores[:, c]) - 1 for c in range(3)])
    )
    assert areas(scores, np.zeros(500, np.int64)) == 0


def test_areas_by_hand():
    # value 1 has scores 2 and 0, value 0 has 1: one pair of two in order, 2 * 1/2 - 1 = 0; a tie counts half
    scores = np.array([[0.0, 2.0], [0.0, 0.0], [0.0, 1.0]])
    assert areas(scores, np.array([1, 1, 0])) == 0
    assert areas(np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), np.array([1, 0, 0])) == pytest.approx(0.5)


def test_binary_gaussian_channel_has_the_area_of_its_separation():
    # z = v + N(0, 1): AUC = Phi(1 / sqrt(2))
    v = RNG.integers(2, size=(10_000, 2))
    scores = explicitness(v + RNG.normal(size=v.shape), v)
    exact = 2 * norm.cdf(1 / np.sqrt(2)) - 1
    assert scores["one_vs_rest"] == pytest.approx(exact, abs=0.03)
    assert scores["multinomial"] == pytest.approx(exact, abs=0.03)


def test_a_line_tells_its_ends_from_the_rest_and_one_regression_all():
    # three values in a line: areas 1, .5 (no slope helps the middle one) and 1, so that 2 AUC - 1 is 2/3 on average
    v = RNG.integers(3, size=(4000, 2))
    scores = explicitness(v.astype(float), v, names=("a", "b"))
    assert scores["one_vs_rest/a"] == pytest.approx(2 / 3, abs=0.03)
    assert scores["multinomial/b"] == pytest.approx(1, abs=1e-3)


def test_a_rotation_keeps_it():
    v = RNG.integers(6, size=(3000, 3))
    codes = v + 0.5 * RNG.normal(size=v.shape)
    turned = codes @ np.linalg.qr(RNG.normal(size=(3, 3)))[0]
    first, second = explicitness(codes, v), explicitness(turned, v)
    for name in ("one_vs_rest", "multinomial"):
        assert first[name] == pytest.approx(second[name], abs=1e-3)


def test_what_is_learnt_by_heart_scores_nothing():
    # as many latents as rows to fit tell every one of them apart, and no other
    v = RNG.integers(2, size=(200, 2))
    assert abs(explicitness(RNG.normal(size=(200, 100)), v)["one_vs_rest"]) < 0.35


def test_a_low_limit_is_refused():
    with pytest.raises(ValueError, match="limit must be at least 50, got 10"):
        Explicitness(limit=10)
