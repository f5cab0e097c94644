"""An interval covers what it says, what fails is listed, and what is not for the data is left out."""

from dataclasses import replace

import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.encoding import Encoding
from disvae.evaluation.compute import MODEL, compute_scores
from disvae.metric import Metric, ModelMetric, NotApplicable
from disvae.metric.mig import MIG
from disvae.runs.shared import SHARED_FOLDER

N = 400


class Mean(Metric):
    """The mean of the first latent: its standard error is known."""

    factors = 0

    def score(self, codes, factors, names, seed):
        return {"mean": codes[:, 0].mean()}

    def chance(self, codes, factors):
        return {"mean": 0.0}


class Noise(Mean):
    """A draw that depends on the seed alone."""

    def score(self, codes, factors, names, seed):
        return {"draw": np.random.default_rng(seed).normal()}


class Fails(Mean):
    """Fails on odd seeds as metrics fail, else as bugs do."""

    def score(self, codes, factors, names, seed):
        raise ValueError("codes must be nicer") if seed % 2 else RuntimeError("a bug")


class NeedsTwo(Mean):
    """A metric of two factors."""

    factors = 2


class ForLabels(Mean):
    """A metric of labels."""

    factors = 1
    labels = True


class OfPosterior(ModelMetric):
    """A score that knows its own standard error, and one that does not."""

    needs = ()

    def __call__(self, encoding, *, seed=0):
        return {"own": 1.0, "own_se": 0.5, "other": encoding.codes.mean()}


class NeedsPosterior(OfPosterior):
    """The posterior is not there."""

    needs = ("posterior",)


class Classes(Metric):
    """The number of classes of the first of two factors."""

    def score(self, codes, factors, names, seed):
        return {"classes": float(len(np.unique(factors[:, 0])))}


def encoding(seed: int = 0, K: int = 2, population: int | None = None) -> Encoding:
    rng = np.random.default_rng(seed)
    return Encoding(
        codes=rng.normal(size=(N, 2)).astype(np.float32),
        factors=rng.integers(0, 3, size=(N, K)),
        factor_names=tuple("abc"[:K]),
        population=population,
    )


def scored(metric, source=None, *, repeats=5, seed=0, named=(), **others):
    sources = {MODEL: [source or encoding()], **others}
    return compute_scores({"m": metric}, sources, repeats=repeats, seed=seed, named=named)


def test_continuous_factors_are_scored_in_classes_only_where_that_is_asked_for():
    source = replace(encoding(), factors=np.random.default_rng(1).random((N, 2)))
    (reason,) = scored(Classes(), source, named=["m"])["m"].failed.values()
    assert reason == "factor a is continuous: type score.bins=20 to score it in 20 classes"
    assert not scored(Classes(), source)
    assert scored(Mean(), source)["m"].scores["mean"], "a metric of codes alone does not read them"
    of_bins = compute_scores({"m": Classes()}, {MODEL: [source]}, repeats=0, seed=0, named=(), bins=20)
    assert of_bins["m"].scores["classes"][MODEL].value == 20
    with pytest.raises(ConfigError, match=r"score.bins=20 has no effect: no factor is continuous; leave it out"):
        compute_scores({"m": Classes()}, {MODEL: [encoding()]}, repeats=0, seed=0, named=(), bins=20)


def test_the_spread_of_random_halves_is_the_standard_error():
    source = encoding()
    (found,) = scored(Mean(), source, repeats=2000)["m"].scores["mean"].values()
    assert found.value == pytest.approx(source.codes[:, 0].mean(), rel=1e-6)
    assert found.se == pytest.approx(source.codes[:, 0].std(ddof=1) / N**0.5, rel=0.06)


def test_a_95_percent_interval_of_five_halves_covers_the_truth_as_often():
    covered = []
    for seed in range(400):
        found = scored(Mean(), encoding(seed), seed=seed)["m"].scores["mean"][MODEL]
        covered.append(found.low <= 0 <= found.high)
    assert 0.92 <= np.mean(covered) <= 0.98


class OnHalf(Mean):
    """A mean over a random half of the rows, as of a classifier's held-out ones."""

    def score(self, codes, factors, names, seed):
        rows = np.random.default_rng(seed).permutation(len(codes))[: len(codes) // 2]
        return {"mean": codes[rows, 0].mean()}

    def rows(self, N, name):
        return N // 2


class OfAtMost(OnHalf):
    """A mean over at most 150 rows."""

    def score(self, codes, factors, names, seed):
        return {"mean": codes[np.random.default_rng(seed).permutation(len(codes))[:150], 0].mean()}

    def rows(self, N, name):
        return min(N, 150)


@pytest.mark.parametrize(("metric", "read"), [(OnHalf(), N // 2), (OfAtMost(), 150)])
def test_the_choice_of_held_out_rows_is_not_counted_twice(metric, read):
    source = encoding()
    found = scored(metric, source, repeats=2000)["m"].scores["mean"][MODEL]
    assert found.se == pytest.approx(source.codes[:, 0].std(ddof=1) / read**0.5, rel=0.06)


def test_a_share_of_a_population_is_known():
    of_all = scored(Mean(), encoding(population=10 * N))["m"].scores["mean"][MODEL]
    assert of_all.se == pytest.approx(scored(Mean(), encoding())["m"].scores["mean"][MODEL].se * 0.9**0.5)


def test_where_all_images_are_encoded_only_the_seed_makes_an_interval():
    whole = encoding(population=N)
    assert scored(Mean(), whole)["m"].scores["mean"][MODEL].se == 0
    assert scored(Noise(), whole)["m"].scores["draw"][MODEL].se > 0.1


def test_a_metrics_own_standard_error_is_taken_and_another_found():
    scores = scored(OfPosterior())["m"].scores
    assert (scores["own"][MODEL].low, scores["own"][MODEL].high) == pytest.approx((1 - 0.98, 1 + 0.98), abs=1e-3)
    assert scores["other"][MODEL].se > 0
    assert scores.keys() == {"own", "other"}


def test_several_encodings_of_a_source_are_averaged():
    turned = [replace(encoding(), codes=np.full((N, 2), value, np.float32)) for value in (1, 2, 6)]
    found = scored(Mean(), rotation=turned)["m"].scores["mean"]["rotation"]
    assert found.value == 3
    assert found.se == pytest.approx(np.std([1, 2, 6], ddof=1) / 3**0.5)


@pytest.mark.parametrize(("seed", "reason"), [(1, "codes must be nicer"), (2, "RuntimeError: a bug")])
def test_what_fails_is_listed_with_its_reason_and_the_others_run(seed, reason):
    metrics = {"bad": Fails(), "good": Mean()}
    results = compute_scores(metrics, {MODEL: [encoding()], "pca": [encoding(1)]}, repeats=3, seed=seed, named=())
    assert results["bad"].failed == {MODEL: reason, "pca": reason}
    assert results["bad"].scores == {}
    assert results["good"].scores["mean"].keys() == {MODEL, "pca"}


def test_processes_change_nothing():
    metrics = {"mig": MIG(bins=20), "posterior": OfPosterior(), "labels": ForLabels()}
    sources = {MODEL: [encoding()], "pca": [encoding(1)], "rotation": [encoding(2), encoding(3)]}
    alone, shared = (compute_scores(metrics, sources, repeats=3, seed=1, named=(), processes=n) for n in (1, 2))
    assert alone.keys() == {"mig", "posterior"}
    for label, result in alone.items():
        assert shared[label].scores == result.scores
        assert shared[label].chance == result.chance


@pytest.mark.parametrize(
    ("metric", "K", "reason"),
    [(NeedsTwo(), 1, "at least 2 factors are needed, got 1"), (NeedsPosterior(), 2, "the posterior is needed")],
)
def test_what_is_not_for_the_data_is_left_out_unless_it_was_asked_for(metric, K, reason):
    assert scored(metric, encoding(K=K)) == {}
    assert reason in scored(metric, encoding(K=K), named=("m",))["m"].failed[MODEL]


def test_a_metric_of_labels_is_computed_for_several_factors_only_when_asked_for():
    assert scored(ForLabels(), encoding(K=2)) == {}
    assert scored(ForLabels(), encoding(K=1))["m"].scores
    assert scored(ForLabels(), encoding(K=2), named=("m",))["m"].scores


def test_model_metrics_are_not_computed_for_controls():
    assert scored(OfPosterior(), pca=[encoding()])["m"].scores["own"].keys() == {MODEL}


def test_too_few_rows_for_halves_leave_a_score_without_an_interval():
    few = encoding().take(np.arange(150))  # a half is below the 100 that Metric asks for
    found = scored(Mean(), few)["m"].scores["mean"][MODEL]
    assert (found.se, found.low, found.high) == (None, None, None)


def test_not_applicable_is_an_error_of_value():
    assert issubclass(NotApplicable, ValueError)


def test_noise_in_the_means_of_a_collapsed_model_scores_nothing():
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, (N, 2))
    codes = (1e-3 * factors + 1e-4 * rng.normal(size=(N, 2))).astype(np.float32)  # collapsed, and yet perfect
    encoding = Encoding(codes, factors, ("x", "y"))
    results = {}
    for name, posterior in (("foreign", None), ("model", lambda h: None)):
        sources = {MODEL: [replace(encoding, posterior=posterior)]}
        found = compute_scores({"mig": MIG(bins=20)}, sources, repeats=0, seed=0, named=())
        results[name] = found["mig"].scores["histogram"][MODEL].value
    assert results["foreign"] > 0.9
    assert results["model"] == 0


class Counted(Mean):
    """Counts how often it is computed."""

    calls = 0

    def score(self, codes, factors, names, seed):
        type(self).calls += 1
        return super().score(codes, factors, names, seed)


def test_runs_of_a_sweep_share_the_scores_of_equal_baselines_and_no_others(monkeypatch, tmp_path):
    rng = np.random.default_rng(0)
    factors = np.stack([np.arange(N) % 4, np.arange(N) // 4 % 5], 1)
    pca = Encoding(rng.normal(size=(N, 2)), factors, ("a", "b"))
    own = [Encoding(rng.normal(size=(N, 2)), factors, ("a", "b")) for _ in range(2)]

    def scores(of_run, pca=pca):
        before = Counted.calls
        sources = {MODEL: [of_run], "pca": [pca], "rotation": [of_run]}
        found = compute_scores({"mean": Counted()}, sources, repeats=3, seed=0, named=["mean"])["mean"]
        return found.scores, Counted.calls - before

    alone = [scores(each) for each in own]
    assert [calls for _, calls in alone] == [12, 12]  # three sources, all rows and three halves
    monkeypatch.setenv(SHARED_FOLDER, str(tmp_path))
    shared = [scores(each) for each in own]
    assert [calls for _, calls in shared] == [12, 8]
    assert [found for found, _ in shared] == [found for found, _ in alone]
    assert scores(own[0], replace(pca, codes=pca.codes + 1))[1] == 12
