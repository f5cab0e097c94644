"""DCI of importances worked by hand, and of trees on codes where it is known."""

import math

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier

from disvae.metric.dci import DCI, concentration

N = 900
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, N) for size in (2, 3, 5)], axis=1)
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
NAMES = ("shape", "scale", "posX")


def dci(**settings) -> DCI:
    return DCI(**({"classifier": "forest", "trees": 10, "leaf": 10, "rows": None, "processes": 1} | settings))


def with_importances(monkeypatch, R: np.ndarray) -> dict[str, float]:
    """Scores where the importance of latent j for factor k is R[j, k], whatever the codes."""
    from disvae.metric import dci as module

    metric = dci()
    factors = np.stack([RNG.integers(0, 2 + k, N) for k in range(R.shape[1])], axis=1)

    def fit(codes, factor, train, held_out, seed):
        k = next(k for k in range(R.shape[1]) if (factors[:, k] == factor).all())
        return module._Fit(R[:, k], 1.0, k / 10)

    monkeypatch.setattr(metric, "_fit", fit)
    return metric(RNG.normal(size=(N, R.shape[0])), factors)


def test_one_code_for_two_of_ten_factors_is_less_disentangled(monkeypatch):
    R = np.eye(10)
    R[0, 1], R[1, 1] = 1, 0
    scores = with_importances(monkeypatch, R)
    one = 1 - math.log(2) / math.log(10)
    assert scores["disentanglement/z0"] == pytest.approx(one)
    assert scores["disentanglement/z1"] == 0  # of no importance: does not count
    assert scores["disentanglement"] == pytest.approx(0.2 * one + 0.8)
    assert scores["completeness"] == pytest.approx(1)
    assert scores["informativeness/7"] == pytest.approx(0.7)


def test_duplicated_codes_are_less_complete(monkeypatch):
    scores = with_importances(monkeypatch, np.concatenate([np.eye(5), np.eye(5)]))
    assert scores["completeness"] == pytest.approx(1 - math.log(2) / math.log(10))
    assert scores["disentanglement"] == pytest.approx(1)


def test_shares_of_importance_weigh_the_parts(monkeypatch):
    R = np.array([[3.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    scores = with_importances(monkeypatch, R)
    quarter = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) / math.log(3)
    assert scores["disentanglement"] == pytest.approx(3 / 5 * 1 + 2 / 5 * 0)
    assert scores["completeness"] == pytest.approx(4 / 5 * (1 - quarter) + 1 / 5 * 1)
    assert scores["completeness/0"] == pytest.approx(1 - quarter)


def test_no_importance_at_all_scores_zero(monkeypatch):
    scores = with_importances(monkeypatch, np.zeros((3, 2)))
    assert scores["disentanglement"] == scores["completeness"] == 0
    np.testing.assert_array_equal(concentration(np.array([[0, 0], [1, 1], [0, 2]])), [0, 0, 1])
    np.testing.assert_array_equal(concentration(np.ones((2, 1))), [0, 0])  # a single one has no other to choose


@pytest.mark.parametrize("settings", [{}, {"classifier": "boosting", "trees": 5, "leaf": 1}])
def test_a_perfect_code_scores_one_and_its_rotation_does_not(settings):
    codes = np.concatenate([PERFECT, 0.01 * RNG.normal(size=(N, 2))], axis=1)
    scores = dci(**settings)(codes, FACTORS, names=NAMES)
    for name in ("disentanglement", "completeness", "informativeness", "informativeness/posX", "completeness/scale"):
        assert scores[name] == pytest.approx(1, abs=0.03), name
    rotated = dci(**settings)(PERFECT @ np.linalg.qr(RNG.normal(size=(3, 3)))[0], FACTORS)
    assert rotated["disentanglement"] < 0.6
    assert rotated["completeness"] < 0.7


def test_boosting_is_scikit_learns_with_its_defaults():
    codes = PERFECT + RNG.normal(size=(N, 3))
    scores = dci(classifier="boosting", trees=100, leaf=1)(codes, FACTORS[:, :2], seed=3)
    rows = np.random.default_rng(3).permutation(N)
    held_out, train = rows[:300], rows[300:]
    codes = (codes - codes.mean(0)) / codes.std(0)
    models = [GradientBoostingClassifier(random_state=3).fit(codes[train], FACTORS[train, k]) for k in range(2)]
    accuracy = [model.score(codes[held_out], FACTORS[held_out, k]) for k, model in enumerate(models)]
    assert scores["informativeness"] == pytest.approx(np.mean(accuracy))
    R = np.stack([model.feature_importances_ for model in models], axis=1)
    assert scores["disentanglement/z1"] == pytest.approx(concentration(R)[1])
    assert scores["informativeness/on_training_rows"] > scores["informativeness"] + 0.1


def test_processes_do_not_change_the_scores():
    codes = PERFECT + RNG.normal(size=(N, 3))
    assert dci(processes=2, trees=2)(codes, FACTORS, seed=4) == dci(processes=1, trees=2)(codes, FACTORS, seed=4)


def test_chance_is_what_noise_scores():
    factors = np.stack([RNG.integers(0, 2, 4000), (RNG.random(4000) < 0.2).astype(int), RNG.integers(0, 9, 4000)], 1)
    metric = dci(leaf=20)
    draws = [metric(np.random.default_rng(s).normal(size=(4000, 6)), factors, seed=s) for s in range(3)]
    for name, chance in metric.chance(np.empty((4000, 6)), factors).items():
        assert np.mean([s[name] for s in draws]) == pytest.approx(chance, abs=0.02), name


def test_scale_sign_and_order_hardly_matter():
    codes = PERFECT + 0.5 * RNG.normal(size=(N, 3))
    scores, changed = dci()(codes, FACTORS), dci()((codes * [1e-3, -1e3, 5])[:, [2, 0, 1]] + 3, FACTORS)
    for name in ("disentanglement", "completeness", "informativeness"):
        assert changed[name] == pytest.approx(scores[name], abs=0.05)


@pytest.mark.parametrize(("scale", "offset"), [(1e-6, 0.0), (1e-12, 0.0), (1.0, 1e6), (1e12, -1e15)])
def test_single_precision_of_the_trees_does_not_show(scale, offset):
    codes = PERFECT + 0.5 * RNG.normal(size=(N, 3))
    scores, changed = dci()(codes, FACTORS), dci()(scale * codes + offset, FACTORS)
    for name in ("disentanglement", "completeness", "informativeness"):
        assert changed[name] == pytest.approx(scores[name], abs=0.01)


@pytest.mark.parametrize("leaf", [1, 20])
def test_chance_of_forests_with_few_rows_and_many_latents_is_what_noise_scores(leaf):
    factors = np.stack([RNG.integers(0, size, 400) for size in (2, 7)], 1)
    metric = dci(leaf=leaf)
    draws = [metric(np.random.default_rng(s).normal(size=(400, 30)), factors, seed=s) for s in range(10)]
    chance = metric.chance(np.empty((400, 30)), factors)
    for name, value in chance.items():
        spread = np.std([s[name] for s in draws], ddof=1)
        assert np.mean([s[name] for s in draws]) == pytest.approx(value, abs=3 * spread * (1 / 10 + 1 / 5) ** 0.5), name
    assert chance["disentanglement"] > 0.03


def test_accuracy_is_read_from_a_third_of_the_rows_drawn_and_importance_from_the_others():
    for metric, read in ((dci(), 2000), (dci(rows=900), 900)):
        assert metric.rows(2000, "informativeness/shape") == read // 3
        assert metric.rows(2000, "disentanglement") == metric.rows(2000, "completeness/posX") == read - read // 3


def test_a_factor_may_have_any_name():
    names = ("train", "on", "z0")
    scores = dci(leaf=20)(PERFECT + RNG.normal(size=(N, 3)), FACTORS, names=names)
    assert scores["informativeness"] == pytest.approx(np.mean([scores[f"informativeness/{name}"] for name in names]))


def test_only_rows_of_the_draw_are_read():
    codes = PERFECT + RNG.normal(size=(N, 3))
    rows = np.random.default_rng(0).permutation(N)
    broken = codes.copy()
    broken[rows[300:]] = 1e6
    assert dci(rows=300)(broken, FACTORS, seed=0) == dci(rows=300)(codes, FACTORS, seed=0)


@pytest.mark.parametrize("settings", [{}, {"classifier": "boosting", "trees": 2, "leaf": 1}])
def test_codes_and_factors_that_say_nothing_have_defined_scores(settings):
    assert set(dci(**settings)(np.full((N, 2), 0.1), FACTORS).values()) == {0.0}
    rare = np.zeros((N, 1), np.int64)
    rare[17] = 1
    for seed in range(4):  # learnt from in some, held out in others
        scores = dci(**settings)(PERFECT[:, :1], np.concatenate([rare, FACTORS], axis=1), seed=seed)
        assert scores["informativeness/0"] > 0.99
        assert scores["completeness"] == 0


def test_boosting_alone_is_slow():
    assert dci(classifier="boosting").slow
    assert not dci().slow


@pytest.mark.parametrize(
    ("setting", "value"), [("classifier", "lasso"), ("trees", 0), ("leaf", 0), ("rows", 99), ("processes", 0)]
)
def test_settings_are_checked_at_the_door(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must be .*got {value}"):
        dci(**{setting: value})
