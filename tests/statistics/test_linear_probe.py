"""Reading a factor from codes: what is fitted, what is judged, and how well."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from disvae.statistics import linear_probe
from disvae.statistics.linear_probe import held_out


def test_rows_are_fitted_or_judged_and_never_both():
    codes = np.arange(101.0)[:, None]
    split = held_out(codes, np.arange(101) % 2, 1000, np.random.default_rng(0))
    assert split is not None
    assert (len(split.z), len(split.z_test)) == (50, 51)
    np.testing.assert_allclose([split.z.mean(), split.z.std()], [0, 1], atol=1e-12)
    assert not set(split.z[:, 0]) & set(split.z_test[:, 0])
    small = held_out(codes, np.arange(101) % 2, 20, np.random.default_rng(0))
    assert small is not None
    assert (len(small.z), len(small.z_test)) == (20, 20)


def test_values_that_were_not_fitted_are_not_judged():
    factor = np.arange(200) % 2
    factor[:20] = np.arange(2, 22)  # each once: in one half only
    split = held_out(np.random.default_rng(1).normal(size=(200, 3)), factor, 1000, np.random.default_rng(0))
    assert split is not None
    assert set(split.v_test) <= set(split.v)
    assert len(split.v_test) < 100
    assert set(split.v) == set(range(len(set(split.v))))


def test_there_is_no_choice_of_a_single_value():
    assert held_out(np.ones((100, 2)), np.zeros(100, np.int64), 50, np.random.default_rng(0)) is None


def test_log_probabilities_of_codes_that_say_nothing_are_the_frequencies():
    factor = np.repeat([0, 1, 2], [60, 30, 10])
    split = held_out(np.full((100, 2), 0.1), factor, 1000, np.random.default_rng(0))
    assert split is not None
    assert (split.z == 0).all()
    log_p, log_prior = split.log_probabilities()
    np.testing.assert_allclose(np.exp(log_prior), np.bincount(split.v) / 50)
    np.testing.assert_allclose(log_p, np.broadcast_to(log_prior, log_p.shape), atol=0.02)


def test_multinomial_regression_recovers_the_posterior_of_a_gaussian_channel():
    # v = +-1 equally often, z = v + N(0, 1): log-odds of v = 1 are 2 z
    rng = np.random.default_rng(0)
    v = rng.integers(2, size=20_000)
    z = (2 * v - 1 + rng.normal(size=20_000))[:, None]
    split = held_out(z, v, 10_000, rng)
    assert split is not None
    log_p, _ = split.log_probabilities()
    unit = z.std()
    np.testing.assert_allclose(log_p[:, 1] - log_p[:, 0], 2 * unit * split.z_test[:, 0], atol=0.5)
    np.testing.assert_allclose(split.one_vs_rest()[:, 1], log_p[:, 1] - log_p[:, 0], atol=0.01)


@pytest.mark.parametrize("values", [6, 40])
def test_values_in_a_line_can_be_read_by_one_regression(values):
    factor = np.arange(4000) % values
    split = held_out(factor[:, None].astype(float), factor, 2000, np.random.default_rng(0))
    assert split is not None
    log_p, _ = split.log_probabilities()
    assert (log_p.argmax(1) == split.v_test).mean() > 0.99


def _split(codes, factor):
    split = held_out(codes, factor, 1000, np.random.default_rng(0))
    assert split is not None
    return split


@pytest.mark.parametrize("tails", [1.2, 30])
def test_regressions_of_all_values_at_once_are_those_of_scikit_learn(tails):
    rng = np.random.default_rng(0)
    v = rng.choice(5, size=1000, p=[0.5, 0.3, 0.15, 0.04, 0.01])
    codes = rng.standard_t(tails, size=(1000, 3)) + v[:, None] * [1, 0.3, 0]
    split = _split(np.column_stack([codes, codes @ [1, 2, 3], np.ones(1000)]), v)  # a sum of others, and a constant
    exact = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    logits = [exact.fit(split.z, split.v == c).decision_function(split.z_test) for c in range(5)]
    np.testing.assert_allclose(split.one_vs_rest(), np.stack(logits, 1), rtol=1e-3, atol=1e-3)


def test_values_that_planes_separate_are_told_apart():
    v = np.arange(800) % 8
    split = _split(np.eye(8)[v] + 0.1 * np.random.default_rng(0).uniform(size=(800, 8)), v)
    logits = split.one_vs_rest()
    assert np.isfinite(logits).all()
    np.testing.assert_array_equal(logits > 0, split.v_test[:, None] == np.arange(8))


def test_wide_codes_have_the_same_regressions(monkeypatch):
    rng = np.random.default_rng(0)
    v = rng.integers(4, size=2000)
    split = _split(rng.normal(size=(2000, 6)) + v[:, None], v)
    at_once = split.one_vs_rest()
    monkeypatch.setattr(linear_probe, "WIDE", 5)
    np.testing.assert_allclose(split.one_vs_rest(), at_once, atol=0.02)
