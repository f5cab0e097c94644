"""SAP's support vector machines against scikit-learn's, and its gaps on codes where they are known."""

import numpy as np
import pytest
from sklearn.svm import LinearSVC

from disvae.metric import sap as sap_module
from disvae.metric.sap import SAP, domains, one_against_rest
from tests.metric import plain

SIZES = (2, 3, 6, 12)
N = 3000
RNG = np.random.default_rng(0)
FACTORS = np.stack([RNG.integers(0, size, N) for size in SIZES], axis=1)
FACTORS[:, 1] = np.minimum(FACTORS[:, 1], RNG.integers(0, 3, N))  # uneven classes
PERFECT = (FACTORS - FACTORS.mean(0)) / FACTORS.std(0)
sap = SAP(C=0.01)


@pytest.mark.parametrize("C", [0.01, 1])
@pytest.mark.parametrize(
    "z",
    [
        RNG.normal(size=N),
        PERFECT[:, 2] + 0.3 * RNG.normal(size=N),
        PERFECT[:, 3] ** 2,
        0.02 * PERFECT[:, 1] + 0.01 * RNG.normal(size=N) + 0.3,
        -30 * PERFECT[:, 0] + 10 * RNG.normal(size=N) + 4,
    ],
    ids=["noise", "signal", "square", "small", "large"],
)
def test_machines_are_those_of_liblinear(z, C):
    train = slice(0, 2000)
    for k, (classes, w, b) in enumerate(one_against_rest(z[train], FACTORS[train], C)):
        machine = LinearSVC(C=C, class_weight="balanced", tol=1e-9, max_iter=100_000)
        machine.fit(z[train, None], FACTORS[train, k])
        assert classes.tolist() == machine.classes_.tolist()
        if len(classes) == 2:
            w, b = w[1:], b[1:]  # scikit-learn keeps the second class alone
        np.testing.assert_allclose(w, machine.coef_[:, 0], rtol=1e-3, atol=1e-3 * np.abs(w).max())
        np.testing.assert_allclose(b, machine.intercept_, rtol=1e-3, atol=1e-3 * np.abs(b).max())


def test_steps_that_overshoot_are_halved(monkeypatch):
    exact = one_against_rest(PERFECT[:, 2], FACTORS, 0.1)
    call = sap_module._Hinges.__call__

    def too_flat(self, w, b):
        value, by_w, by_b, ww, wb, bb = call(self, w, b)
        return value, by_w, by_b, ww / 3, wb / 3, bb / 3  # steps three times too long

    monkeypatch.setattr(sap_module._Hinges, "__call__", too_flat)
    for (_, w, b), (_, w_exact, b_exact) in zip(one_against_rest(PERFECT[:, 2], FACTORS, 0.1), exact, strict=True):
        np.testing.assert_allclose(w, w_exact, atol=1e-4)
        np.testing.assert_allclose(b, b_exact, atol=1e-4)


def test_two_classes_are_each_others_rest():
    ((_, w, b),) = one_against_rest(PERFECT[:, 1], FACTORS[:, :1], 0.1)
    assert w[0] == pytest.approx(-w[1])
    assert b[0] == pytest.approx(-b[1])


def test_the_highest_line_is_found_where_it_is():
    w, b = RNG.normal(size=(2, 20))
    w[7], b[7] = w[3], b[3] = 5, 0  # equal lines, the steepest: the first
    w[11], b[11] = w[5], b[5] - 1  # parallel, below
    low, high = domains(w, b)
    z = 3 * RNG.standard_cauchy(2000)
    highest = np.argmax(z[:, None] * w + b, axis=1)
    inside = (low <= z[:, None]) & (z[:, None] <= high)
    assert (inside == (highest[:, None] == np.arange(20))).all()
    assert len(set(highest)) > 3
    assert (highest == 3).any()


def test_scores_are_those_of_the_loop():
    signal = np.concatenate([PERFECT, PERFECT[:, :2]], axis=1)
    codes = (signal + RNG.normal(size=signal.shape)) * [0.05, 0.05, 0.05, 1, 0.02, 0.02] + 0.3
    scores, loop = sap(codes, FACTORS, seed=5), plain.sap(codes, FACTORS, 0.01, np.random.default_rng(5))
    assert scores["classification"] == pytest.approx(loop["classification"], abs=1e-3)
    assert scores["classification_raw"] == pytest.approx(loop["classification_raw"], abs=1e-3)
    assert scores["linear"] == pytest.approx(loop["linear"], abs=1e-9)
    assert abs(loop["classification"] - loop["classification_raw"]) > 0.01
    assert loop["linear"] > 0.1


def test_a_factor_known_to_two_latents_has_no_gap():
    scores = sap(np.concatenate([PERFECT, -3 * PERFECT[:, :1]], axis=1), FACTORS)
    assert scores["classification/0"] == 0
    assert scores["linear/0"] == pytest.approx(0, abs=1e-9)
    # A line separates two classes; the middle one of three only in part.
    alone = sap(PERFECT, FACTORS)
    assert alone["classification/0"] == pytest.approx(0.5, abs=0.05)
    assert alone["linear/0"] > 0.98
    assert alone["linear"] == pytest.approx(np.mean([alone[f"linear/{k}"] for k in range(4)]))


def test_an_order_makes_linear_and_classification_two_quantities():
    """Twelve values in a row: one number tells them all, one line against the rest hardly any."""
    scores = sap(PERFECT, FACTORS)
    assert scores["linear/3"] > 0.98
    assert scores["classification/3"] < 0.2
    shuffled = RNG.permutation(12)[FACTORS[:, 3]]
    assert sap(PERFECT, np.stack([FACTORS[:, 0], shuffled], 1))["linear/1"] < 0.5


def test_scale_sign_order_and_mean_matter_to_raw_alone():
    codes = PERFECT + 0.5 * RNG.normal(size=(N, 4))
    changed = (codes * [1e-3, 1e3, -1, 0.1] + [0.1, 1, 10, 0])[:, [2, 0, 3, 1]]
    scores, exact = sap(changed, FACTORS), sap(codes, FACTORS)
    assert scores["classification"] == pytest.approx(exact["classification"], abs=1e-3)
    assert scores["linear"] == pytest.approx(exact["linear"], abs=1e-9)
    assert abs(scores["classification_raw"] - exact["classification_raw"]) > 0.02


@pytest.mark.parametrize("D", [1, 2, 10])
def test_chance_is_what_noise_scores(D):
    draws = [sap(np.random.default_rng(s).normal(size=(1000, D)), FACTORS[:1000], seed=s) for s in range(30)]
    chance = sap.chance(np.empty((1000, D)), FACTORS[:1000])
    for name in ("classification", "classification_raw"):
        assert np.mean([s[name] for s in draws]) == pytest.approx(chance[name], abs=0.008)
    linear = [s["linear"] for s in draws]
    assert np.mean(linear) == pytest.approx(chance["linear"], abs=4 * np.std(linear) / 30**0.5)
    assert 0.0008 < chance["linear"] < 0.0025


def test_chance_of_unbalanced_factors_is_what_noise_scores():
    rng = np.random.default_rng(0)
    factors = np.stack([rng.choice(4, 1000, p=[0.9, 0.05, 0.03, 0.02]), rng.choice(3, 1000, p=[0.6, 0.3, 0.1])], 1)
    draws = [sap(np.random.default_rng(s).normal(size=(1000, 4)), factors, seed=s) for s in range(30)]
    chance = sap.chance(np.empty((1000, 4)), factors)
    for name in ("classification", "classification_raw"):
        values = [s[name] for s in draws]
        assert np.mean(values) == pytest.approx(chance[name], abs=4 * np.std(values) / 5**0.5)
    assert chance["linear"] == pytest.approx(np.mean([s["linear"] for s in draws]), rel=0.3)


@pytest.mark.parametrize(
    ("name", "share"), [("classification", 333), ("classification_raw/3", 333), ("linear/3", 1000)]
)
def test_accuracies_are_read_from_a_third_of_the_rows(name, share):
    assert sap.rows(1000, name) == share


def test_constant_and_single_latents_have_defined_scores():
    assert set(sap(np.full((N, 3), 0.1), FACTORS).values()) == {0.0}
    assert sap(np.concatenate([PERFECT, np.full((N, 1), 0.1)], 1), FACTORS)["linear"] == sap(PERFECT, FACTORS)["linear"]
    single = sap(PERFECT[:, :1], FACTORS)
    assert single["classification/0"] == pytest.approx(0.5, abs=0.05)
    assert single["linear/0"] == pytest.approx(1)


def test_a_value_that_occurs_once_is_learnt_from_or_never_predicted():
    rare = np.zeros((N, 1), np.int64)
    rare[17] = 1
    factors, gaps = np.concatenate([rare, FACTORS[:, 1:]], axis=1), {}
    for seed in (0, 1, 2, 3):
        held_out = 17 in np.random.default_rng(seed).permutation(N)[: N // 3]
        gaps.setdefault(held_out, []).append(sap(PERFECT, factors, seed=seed)["classification/0"])
        if not held_out:
            loop = plain.sap(PERFECT, factors, 0.01, np.random.default_rng(seed))
            assert sap(PERFECT, factors, seed=seed)["classification"] == pytest.approx(loop["classification"], abs=1e-3)
    assert gaps.keys() == {True, False}
    assert set(gaps[True]) == {0.0}  # all latents are right about all rows but that one


def test_settings_are_checked_at_the_door():
    with pytest.raises(ValueError, match="C must be positive, got 0"):
        SAP(C=0)
