"""Magnitudes by class against loops and limits."""

import numpy as np
import pytest

from disvae.metric.class_magnitude import ClassMagnitude

magnitude = ClassMagnitude()


def classes(N: int, C: int) -> np.ndarray:
    return np.arange(N) % C


def test_a_latent_of_its_own_for_each_class_scores_one():
    labels = classes(400, 4)
    codes = np.eye(4)[labels] * np.random.default_rng(0).uniform(0.5, 1, (400, 1))
    scores = magnitude(codes, labels)
    assert scores["hoyer"] == pytest.approx(1)
    assert scores["separation"] == pytest.approx(1)
    assert [scores[f"hoyer/{c}"] for c in range(4)] == pytest.approx([1, 1, 1, 1])


def test_classes_that_share_their_latents_are_sparse_but_not_separate():
    labels = classes(400, 4)
    codes = np.zeros((400, 5))
    codes[:, 0] = np.where(np.arange(400) // 4 % 2, 1, -1)
    scores = magnitude(codes, labels)
    assert scores["hoyer"] == pytest.approx(1)
    assert scores["separation"] == pytest.approx(0, abs=1e-12)


def test_sparse_codes_that_do_not_follow_the_class_score_zero():
    rows = np.arange(400)
    codes = np.eye(5)[rows // 4 % 5]
    scores = magnitude(codes, classes(400, 4))
    assert scores["hoyer"] == pytest.approx(0, abs=1e-12)


def test_scores_agree_with_loops():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 200)
    codes = rng.standard_normal((200, 4)) * (1 + labels[:, None] * np.arange(4))
    a = [
        [np.mean([abs(z[d]) for z, c in zip(codes, labels, strict=True) if c == k]) for d in range(4)] for k in range(3)
    ]
    hoyer = [(2 - sum(v) / sum(x * x for x in v) ** 0.5) / (2 - 1) for v in a]
    cos = [np.dot(a[i], a[j]) / np.linalg.norm(a[i]) / np.linalg.norm(a[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    scores = magnitude(codes, labels)
    assert scores["hoyer"] == pytest.approx(np.mean(hoyer))
    assert scores["separation"] == pytest.approx(1 - np.mean(cos))
    assert scores["hoyer/2"] == pytest.approx(hoyer[2])


def test_several_factors_are_averaged_and_named():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (300, 2))
    codes = np.eye(3)[factors[:, 0]]
    scores = magnitude(codes, factors, names=("colour", "shape"))
    assert scores["hoyer/colour"] == pytest.approx(1)
    assert scores["hoyer/shape"] < 0.1
    assert scores["hoyer"] == pytest.approx((scores["hoyer/colour"] + scores["hoyer/shape"]) / 2)
    assert scores["separation/colour"] == pytest.approx(1)


def test_one_scale_for_all_latents_changes_nothing_and_a_dead_latent_counts_as_zero():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    codes = rng.standard_normal((300, 4)) * (1 + labels[:, None])
    assert magnitude(-1e3 * codes, labels) == pytest.approx(magnitude(codes, labels))
    dead = np.insert(codes, 1, 5.0, axis=1)
    assert magnitude(dead, labels) == magnitude(np.insert(codes, 1, 0.0, axis=1), labels)


def test_collapsed_codes_score_zero_and_a_class_of_one_is_no_obstacle():
    labels = np.r_[np.zeros(198, int), 1, 2]
    assert set(magnitude(np.full((200, 3), 0.1), labels).values()) == {0.0}
    codes = np.random.default_rng(0).standard_normal((200, 3))
    assert np.isfinite(list(magnitude(codes, labels).values())).all()
    chance = magnitude.chance(codes, labels[:, None])
    runs = [magnitude(np.random.default_rng(i).standard_normal((200, 3)), labels) for i in range(400)]
    assert chance["hoyer"] == pytest.approx(np.mean([run["hoyer"] for run in runs]), rel=0.1)
    assert chance["separation"] == pytest.approx(np.mean([run["separation"] for run in runs]), rel=0.1)
