"""Labels against the components of a mixture prior."""

import numpy as np
import pytest
import torch
from sklearn.metrics import normalized_mutual_info_score
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from disvae.encoding import Encoding
from disvae.metric import NotApplicable
from disvae.metric.component_nmi import ComponentNMI, components, nmi, purity
from disvae.prior.gaussian import Gaussian
from disvae.prior.mixture import Mixture
from disvae.prior.sparse import Sparse

PRIOR = Mixture(2, components=4, separation=1.0, means=None, scale=0.17, learn=False)
metric = ComponentNMI(least_share=0.2)


def encoding(codes: np.ndarray, labels: np.ndarray, prior=None) -> Encoding:
    factors = labels[:, None] if labels.ndim == 1 else labels
    names = tuple(f"f{k}" for k in range(factors.shape[1]))
    return Encoding(codes=codes.astype("f4"), factors=factors, factor_names=names, prior=prior or PRIOR())


def around(which: np.ndarray) -> np.ndarray:
    return PRIOR.means.numpy()[which] + 0.1 * np.random.default_rng(0).standard_normal((len(which), 2))


def test_a_component_for_each_class_scores_one():
    labels = np.arange(400) % 4
    scores = metric(encoding(around((labels + 1) % 4), labels))
    assert scores["nmi"] == pytest.approx(1)
    assert scores["purity"] == 1
    assert scores["components_used"] == 4
    assert scores["nmi_se"] == pytest.approx(0, abs=1e-9)


def test_codes_in_one_component_say_nothing():
    labels = np.r_[np.zeros(100, int), np.ones(300, int)]
    scores = metric(encoding(around(np.full(400, 2)), labels))
    assert scores["nmi"] == 0
    assert scores["purity"] == 0.75
    assert scores["components_used"] == 1
    assert scores["purity_se"] == pytest.approx((0.75 * 0.25 / 400) ** 0.5, rel=0.2)


def test_a_hand_worked_table():
    table = np.array([[30, 10], [0, 40], [20, 0]])
    assert purity(table) == pytest.approx(0.9)
    rows = np.repeat([0, 0, 1, 2], [30, 10, 40, 20])
    labels = np.repeat([0, 1, 1, 0], [30, 10, 40, 20])
    assert nmi(table) == pytest.approx(normalized_mutual_info_score(labels, rows))
    np.testing.assert_allclose(nmi(np.stack([table, np.eye(3, 2) * 5])), [nmi(table), 1])


def test_nmi_agrees_with_scikit_learn_and_its_standard_error_with_resampling():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    which = np.where(rng.random(500) < 0.6, labels, rng.integers(0, 4, 500))
    codes = around(which)
    scores = metric(encoding(codes, labels))
    of = components(PRIOR(), codes)
    np.testing.assert_array_equal(of, which)
    assert scores["nmi"] == pytest.approx(normalized_mutual_info_score(labels, of))
    again = []
    for _ in range(200):
        rows = rng.integers(0, 500, 500)
        again.append(normalized_mutual_info_score(labels[rows], of[rows]))
    assert scores["nmi_se"] == pytest.approx(np.std(again), rel=0.2)


def test_responsibilities_weigh_density_and_weight():
    prior = MixtureSameFamily(
        Categorical(torch.tensor([0.9, 0.1])), Independent(Normal(torch.tensor([[0.0], [1.0]]), 1.0), 1)
    )
    # equal at z where log 9 = ((z)^2 - (z - 1)^2) / 2 = z - 1/2
    edge = np.log(9) + 0.5
    np.testing.assert_array_equal(components(prior, np.array([[edge - 0.01], [edge + 0.01]])), [0, 1])


def test_a_component_with_few_codes_is_not_used():
    which = np.r_[np.zeros(960, int), np.ones(40, int)]
    labels = np.arange(1000) % 2
    assert metric(encoding(around(which), labels))["components_used"] == 1  # 4 % is below 0.2 of 25 %
    assert ComponentNMI(least_share=0.1)(encoding(around(which), labels))["components_used"] == 2


def test_several_factors_are_averaged_and_named():
    labels = np.stack([np.arange(400) % 4, np.arange(400) // 4 % 5], axis=1)
    scores = metric(encoding(around(labels[:, 0]), labels))
    assert scores["nmi/f0"] == pytest.approx(1)
    assert scores["nmi/f1"] == pytest.approx(0, abs=1e-9)
    assert scores["nmi"] == pytest.approx(0.5)
    assert scores["purity/f1"] == pytest.approx(0.2)
    assert {f"{name}_se" for name in scores if not name.endswith("_se")} <= scores.keys()


def test_standard_errors_of_several_factors_know_that_they_are_of_the_same_rows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 500)
    other = np.where(rng.random(500) < 0.9, labels, rng.integers(0, 3, 500))
    which = np.where(rng.random(500) < 0.6, labels, rng.integers(0, 4, 500))
    factors = np.stack([labels, other], 1)
    scores = metric(encoding(around(which), factors))
    again = {"nmi": [], "purity": []}
    for _ in range(400):
        rows = rng.integers(0, 500, 500)
        tables = [np.histogram2d(which[rows], factor[rows], (range(5), range(4)))[0] for factor in factors.T]
        again["nmi"].append(np.mean([nmi(table) for table in tables]))
        again["purity"].append(np.mean([purity(table) for table in tables]))
    for name, values in again.items():
        assert scores[f"{name}_se"] == pytest.approx(np.std(values), rel=0.15), name
        # two factors that are nearly one have hardly less error than each
        assert scores[f"{name}_se"] > 0.85 * scores[f"{name}/f0_se"], name


@pytest.mark.parametrize("prior", [Gaussian(2), Sparse(2, gamma=0.5, spike=0.05, slab=1.0)])
def test_a_prior_that_is_no_mixture_of_codes_is_told_what_to_type(prior):
    with pytest.raises(NotApplicable, match="type prior=mixture"):
        metric(encoding(np.zeros((100, 2)), np.arange(100) % 2, prior()))


def test_the_seed_decides_the_bootstrap():
    labels = np.random.default_rng(0).integers(0, 3, 200)
    model = encoding(around(np.arange(200) % 4), labels)
    assert metric(model, seed=1) == metric(model, seed=1)
    assert metric(model, seed=1)["nmi_se"] != metric(model, seed=2)["nmi_se"]


def test_a_share_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="least_share must be"):
        ComponentNMI(least_share=0)
