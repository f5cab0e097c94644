"""Accuracy on rows that were held out, and the level chance gives it."""

import numpy as np
import pytest

from disvae.metric.label_accuracy import LabelAccuracy


def accuracy(neighbours: int = 10, held_out: float = 0.3, images: int = 10_000) -> LabelAccuracy:
    return LabelAccuracy(neighbours=neighbours, held_out=held_out, images=images)


def test_separate_classes_are_predicted_without_error():
    labels = np.arange(600) % 3
    codes = np.random.default_rng(0).normal(0, 0.05, (600, 2)) + np.array([[0, 1], [1, 0], [-1, -1]])[labels]
    assert accuracy()(codes, labels) == {"knn": 1, "linear": 1}
    assert accuracy()(codes * [1e-3, -1e3], labels) == {"knn": 1, "linear": 1}


def test_a_ring_around_a_blob_is_near_but_not_linear():
    rng = np.random.default_rng(0)
    labels = np.arange(1000) % 2
    angle = rng.uniform(0, 2 * np.pi, 1000)
    codes = np.where(labels[:, None], 3, 0.3) * np.stack([np.cos(angle), np.sin(angle)], 1)
    scores = accuracy()(codes, labels)
    assert scores["knn"] == 1
    assert scores["linear"] < 0.8


def test_rows_are_held_out():
    # with one neighbour the rows it learns from would be predicted without error
    rng = np.random.default_rng(0)
    scores = accuracy(neighbours=1)(rng.standard_normal((3000, 4)), rng.integers(0, 5, 3000))
    assert scores["knn"] == pytest.approx(0.2, abs=0.06)


def test_latents_are_standardised():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 2
    codes = np.column_stack([rng.normal(0, 1000, 600), labels + rng.normal(0, 0.05, 600)])
    assert accuracy()(codes, labels)["knn"] == 1


@pytest.mark.parametrize("p", [(0.5, 0.5), (0.9, 0.1), (0.4, 0.3, 0.2, 0.1), (1 / 20,) * 20], ids=str)
def test_chance_is_what_random_codes_get(p):
    N = 600
    labels = np.repeat(np.arange(len(p)), (np.array(p) * N).round().astype(int))[:, None]
    metric = accuracy()
    runs = [metric(np.random.default_rng(i).standard_normal((len(labels), 5)), labels, seed=i) for i in range(30)]
    chance = metric.chance(np.zeros((len(labels), 5)), labels)
    for name in ("knn", "linear"):
        of_runs = np.array([run[name] for run in runs])
        # held-out rows miss the classes that the others have too many of, which is worth about 1/N
        assert chance[name] == pytest.approx(of_runs.mean(), abs=3 * of_runs.std() / 30**0.5 + 0.015), name
    # the regression knows which class is the commonest before k-NN does
    assert max(p) + 1e-9 >= chance["linear"] >= chance["knn"] - 0.005 >= min(p) - 0.006


def test_several_factors_are_averaged_and_named():
    rng = np.random.default_rng(0)
    factors = np.stack([np.arange(600) % 3, rng.integers(0, 3, 600)], axis=1)
    codes = np.array([[0, 1], [1, 0], [-1, -1]])[factors[:, 0]] + rng.normal(0, 0.05, (600, 2))
    scores = accuracy()(codes, factors, names=("known", "not"))
    assert list(scores) == ["knn", "linear", "knn/known", "knn/not", "linear/known", "linear/not"]
    assert scores["linear/known"] == 1
    assert scores["linear/not"] < 0.45
    assert scores["linear"] == pytest.approx((scores["linear/known"] + scores["linear/not"]) / 2)


def test_constant_latents_are_left_out_and_collapsed_codes_score_zero():
    labels = np.arange(300) % 3
    codes = np.random.default_rng(0).standard_normal((300, 2))
    assert accuracy()(np.insert(codes, 1, 0.1, axis=1), labels) == accuracy()(codes, labels)
    assert accuracy()(np.full((300, 2), 0.1), labels) == {"knn": 0, "linear": 0}


@pytest.mark.parametrize("seed", range(5))
def test_a_class_that_occurs_once_is_no_obstacle(seed):
    labels = np.r_[np.zeros(99, int), 1]
    codes = np.random.default_rng(0).standard_normal((100, 2))
    assert accuracy()(codes, labels, seed=seed)["linear"] in (1.0, pytest.approx(29 / 30))


def test_the_seed_chooses_the_rows_and_images_bounds_them():
    rng = np.random.default_rng(0)
    codes, labels = rng.standard_normal((1000, 3)), rng.integers(0, 4, 1000)
    metric = accuracy()
    assert metric(codes, labels, seed=1) == metric(codes, labels, seed=1)
    assert metric(codes, labels, seed=1) != metric(codes, labels, seed=2)
    few = accuracy(images=200)(codes, labels)["knn"]
    assert few * 60 == pytest.approx(round(few * 60), abs=1e-9)  # of 60 rows


@pytest.mark.parametrize(("setting", "value"), [("neighbours", 0), ("held_out", 1.0), ("images", 10)])
def test_settings_that_cannot_be_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be"):
        accuracy(**{setting: value})
