"""What every metric of conf/metric must do with perfect, permuted, rescaled, constant and random codes.

A new metric is tested here at once; what its definition excuses it from is said in the tables below, with the reason.
"""

import numpy as np
import pytest

from disvae.config import nodes, options
from disvae.metric import Metric, ModelMetric, RunsMetric
from disvae.system.instantiate import make

SIZES = (3, 4, 5, 4)
N = 1500
BUILT = {label: make(node, f"metric.{label}") for label, node in nodes("metric", {}, options("metric")).items()}
OF_CODES = sorted(name for name, metric in BUILT.items() if isinstance(metric, Metric))
SUPERVISED = [name for name in OF_CODES if BUILT[name].factors > 0]

QUICKER = {"dci": {"processes": 1, "rows": 300, "trees": 50}}
"""Settings that make a test faster."""
DRAWS = {"infomec": 100, "jemmig": 60, "modularity": 40, "sap": 40}
"""Random codes where ten do not say enough."""
CHANCE = {
    "dci/disentanglement": 0.03,  # approximate: 0
    "dci/completeness": 0.03,
    "infomec/modularity": 0.02,  # approximate: estimates of information taken for normal
    "infomec/compactness": 0.02,
    "modularity/all_latents": 0.03,  # simulated: the error of 100 latents
}
"""How far the stated chance level may be off, where more than 0.004 and the error of the random codes."""
SCALE = {
    "active_units/count": "a threshold on the variance",
    "class_magnitude/hoyer": "magnitudes are what it is about",
    "class_magnitude/separation": "magnitudes are what it is about",
    "infomec/modularity": "the published rule leaves out latents by their range",
    "infomec/compactness": "the published rule leaves out latents by their range",
    "irs/irs": "latents count by how far they deviate",
    "factor_vae/held_out": "the published rule leaves out latents by their standard deviation",
    "higgins/raw": "a regularised classifier of features as they are",
    "sap/classification_raw": "a regularised classifier of codes as they are",
    "sparsity/hoyer_raw": "without normalisation",
}
NOT_ZERO = {
    "higgins/standardised": "an accuracy: chance",
    "higgins/raw": "an accuracy: chance",
    "jemmig/jemmig": "nats that are missing to a perfect code",
    "jemmig/normalised": "an entropy's share",
}
IMPERFECT = {
    "jemmig/jemmig": "lower is better",
    "sap/classification": "one linear threshold for each value of a factor cannot tell inner values apart",
    "sap/classification_raw": "the same",
    "explicitness/one_vs_rest": "a linear score cannot single out inner values",
    "dci_forest/disentanglement": "forests look at every latent",
    "dci_forest/completeness": "forests look at every latent",
    "class_magnitude/hoyer": "about magnitudes, not about what latents know",
    "class_magnitude/separation": "about magnitudes, not about what latents know",
}
ROWS = {
    "dci/disentanglement": (401, 6667),
    "dci/completeness": (401, 6667),
    "dci/informativeness": (200, 3333),
    "explicitness/one_vs_rest": (301, 5000),
    "explicitness/multinomial": (301, 5000),
    "factor_vae/held_out": (301, 50_000),
    "higgins/standardised": (301, 50_000),
    "higgins/raw": (301, 50_000),
    "infomec/explicitness": (301, 5000),
    "label_accuracy/knn": (180, 3000),
    "label_accuracy/linear": (180, 3000),
    "sap/classification": (200, 33_333),
    "sap/classification_raw": (200, 33_333),
}
ROWS |= {key.replace("dci", "dci_forest"): rows for key, rows in ROWS.items() if key.startswith("dci")}
"""Of 601 and of 100,000, those that a score is read from where not all are."""


def factors_for(name: str, seed: int = 0) -> np.ndarray:
    sizes = SIZES[:1] if BUILT[name].labels else SIZES
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, N) for size in sizes], axis=1)


def perfect(factors: np.ndarray, extra: int = 1) -> np.ndarray:
    """Each factor in a latent of its own, standardised, and latents of a little noise."""
    noise = 0.01 * np.random.default_rng(99).normal(size=(len(factors), extra))
    return np.concatenate([(factors - factors.mean(0)) / factors.std(0), noise], axis=1)


def noisy(factors: np.ndarray) -> np.ndarray:
    """Codes that are neither perfect nor hopeless."""
    rng = np.random.default_rng(5)
    codes = perfect(factors, 2)
    return codes @ (np.eye(codes.shape[1]) + 0.3 * rng.normal(size=(codes.shape[1],) * 2)) + 0.3 * rng.normal(
        size=codes.shape
    )


def scores(name: str, codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> dict[str, float]:
    metric = BUILT[name]
    if name in QUICKER:
        (node,) = nodes("metric", {}, [name]).values()
        metric = make(node | QUICKER[name], f"metric.{name}")
    assert isinstance(metric, Metric)
    return metric(codes, factors, seed=seed)


def headlines(found: dict[str, float], name: str) -> dict[str, float]:
    return {f"{name}/{key}": value for key, value in found.items() if "/" not in key and not key.endswith("_se")}


slow_ones = [pytest.param(name, marks=pytest.mark.slow) if BUILT[name].slow else name for name in OF_CODES]
slow_supervised = [param for param in slow_ones if getattr(param, "values", (param,))[0] in SUPERVISED]


def test_every_option_is_a_metric():
    assert {type(metric).__mro__[1] for metric in BUILT.values()} <= {Metric, ModelMetric, RunsMetric}


@pytest.mark.parametrize("name", slow_ones)
def test_scores_are_finite_repeatable_and_leave_their_input_alone(name):
    factors = factors_for(name)
    codes = noisy(factors)
    before = codes.copy(), factors.copy()
    found = scores(name, codes, factors, seed=3)
    assert found
    assert all(np.isfinite(value) and isinstance(value, float) for value in found.values())
    assert found == scores(name, codes, factors, seed=3)
    assert (codes == before[0]).all()
    assert (factors == before[1]).all()


@pytest.mark.parametrize("name", slow_ones)
def test_details_follow_the_score_they_belong_to(name):
    factors = factors_for(name)
    found = scores(name, noisy(factors), factors)
    heads = {key for key in found if "/" not in key}
    assert {key.partition("/")[0] for key in found} <= heads
    assert BUILT[name].chance(noisy(factors), factors).keys() <= heads


@pytest.mark.parametrize("name", slow_ones)
def test_scores_say_how_many_rows_they_are_read_from(name):
    factors = factors_for(name)
    for key in headlines(scores(name, noisy(factors), factors), name):
        short = key.partition("/")[2]
        for score in (short, f"{short}/shape"):
            assert tuple(BUILT[name].rows(N, score) for N in (601, 100_000)) == ROWS.get(key, (601, 100_000)), key


@pytest.mark.parametrize("name", slow_ones)
def test_permuted_and_flipped_latents_score_the_same(name):
    factors = factors_for(name)
    codes = noisy(factors)
    order = np.random.default_rng(1).permutation(codes.shape[1])
    signs = np.where(np.arange(codes.shape[1]) % 2, 1, -1)
    expected = headlines(scores(name, codes, factors), name)
    other = headlines(scores(name, codes[:, order] * signs, factors), name)
    for key, value in expected.items():
        assert other[key] == pytest.approx(value, abs=0.03, rel=0.02), key


@pytest.mark.parametrize("name", slow_ones)
def test_rescaled_latents_score_the_same(name):
    factors = factors_for(name)
    codes = noisy(factors)
    scales = 10.0 ** np.linspace(-2, 2, codes.shape[1])
    expected = headlines(scores(name, codes, factors), name)
    other = headlines(scores(name, codes * scales, factors), name)
    for key, value in expected.items():
        if key not in SCALE:
            assert other[key] == pytest.approx(value, abs=0.03, rel=0.02), key


@pytest.mark.parametrize("value", [0.0, -3.7])
@pytest.mark.parametrize("name", slow_ones)
def test_collapsed_codes_score_zero(name, value):
    factors = factors_for(name)
    found = headlines(scores(name, np.full((N, 4), value), factors), name)
    for key, score in found.items():
        if key in NOT_ZERO:
            assert np.isfinite(score)
        elif BUILT[name].labels or "informativeness" in key:
            chance = BUILT[name].chance(np.zeros((N, 4)), factors).get(key.partition("/")[2], 0)
            assert score <= chance + 0.06, key
        else:
            assert score == pytest.approx(0, abs=1e-6), key


@pytest.mark.parametrize("name", slow_ones)
def test_dead_latents_beside_live_ones_give_numbers(name):
    factors = factors_for(name)
    codes = noisy(factors)
    codes[:, 1] = 0
    codes[:, 2] = 1e-12
    assert all(np.isfinite(value) for value in scores(name, codes, factors).values())


@pytest.mark.parametrize("name", slow_supervised)
def test_a_value_that_occurs_once_is_no_obstacle(name):
    factors = factors_for(name)
    factors[0, 0] = 9
    assert all(np.isfinite(value) for value in scores(name, noisy(factors), factors).values())


@pytest.mark.parametrize("name", slow_supervised)
def test_perfect_codes_score_near_one_and_above_their_rotation(name):
    factors = factors_for(name)
    codes = perfect(factors)
    found = headlines(scores(name, codes, factors), name)
    turned = np.linalg.qr(np.random.default_rng(0).normal(size=(codes.shape[1],) * 2))[0]
    other = headlines(scores(name, codes @ turned, factors), name)
    for key, value in found.items():
        if key not in IMPERFECT:
            assert value > 0.8, key
            assert value <= 1 + 1e-9, key
            assert value > other[key] - 0.03, key


def unbalanced(name: str) -> np.ndarray:
    """Few rows, and factors of two values or of some that are rare."""
    rng = np.random.default_rng(7)
    shares = ((0.6, 0.3, 0.1), (0.5, 0.5), (0.7, 0.3), (0.5, 0.5))
    factors = np.stack([rng.choice(len(p), 400, p=p) for p in shares], axis=1)
    return factors[:, :1] if BUILT[name].labels else factors


@pytest.mark.parametrize(("factors", "D"), [(factors_for, 5), (unbalanced, 8)], ids=["even", "unbalanced"])
@pytest.mark.parametrize("name", slow_ones)
def test_random_codes_score_the_stated_chance(name, factors, D):
    factors = factors(name)
    drawn = []
    for seed in range(DRAWS.get(name, 10)):
        codes = np.random.default_rng(100 + seed).normal(size=(len(factors), D))
        drawn.append(scores(name, codes, factors, seed))
    stated = BUILT[name].chance(codes, factors)
    for key in headlines(drawn[0], name):
        short = key.partition("/")[2]
        values = np.array([found[short] for found in drawn])
        assert short in stated, f"{key}: chance() must state it"
        se = values.std(ddof=1) / len(values) ** 0.5
        tolerance = 3 * se + CHANCE.get(key, 0.004)
        assert abs(values.mean() - stated[short]) <= tolerance, (key, values.mean(), stated[short])
