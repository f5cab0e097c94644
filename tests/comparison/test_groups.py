"""Groups over seeds: hand-worked intervals, Welch's difference, ranks, fronts, datasets apart."""

import math
import random
import statistics

import pytest
from scipy.stats import t, ttest_ind

from disvae.comparison.groups import compare, estimate, seeds_to_tell_apart, told_apart
from disvae.comparison.row import Row
from disvae.config import ConfigError
from tests.comparison.fabricated import row

MIG, RECONSTRUCTION = "metric/mig/histogram", "val/reconstruction"


def test_a_mean_has_students_interval_over_seeds():
    of = estimate([1.0, 2.0, 3.0])  # standard deviation 1
    half = t.ppf(0.975, 2) / math.sqrt(3)
    assert (of.mean, of.n) == (2, 3)
    assert of.low == pytest.approx(2 - half)
    assert of.high == pytest.approx(2 + half)
    assert of.half == pytest.approx(2.4841, abs=1e-4)


def test_one_seed_has_no_interval_and_tells_nothing_apart():
    assert estimate([0.3]).low is estimate([0.3]).high is estimate([0.3]).half is None
    assert told_apart(estimate([0.3]), estimate([0.9, 0.91])) is None


@pytest.mark.parametrize(("other", "apart"), [((4.0, 5.0, 6.0), True), ((3.0, 4.0, 5.0), False)])
def test_a_difference_counts_where_welchs_interval_excludes_zero(other, apart):
    # se^2 = 1/3 + 1/3, 4 degrees of freedom: the difference must be above 2.776 * 0.816 = 2.267
    assert told_apart(estimate([1.0, 2.0, 3.0]), estimate(other)) is apart


@pytest.mark.parametrize("other", [(0.5, 0.9, 0.3, 0.4), (0.1, 0.11, 0.12), (0.3, 2.0), (0.25, 0.26)])
def test_told_apart_is_welchs_test_at_5_percent(other):
    one = (0.2, 0.24, 0.19)
    assert told_apart(estimate(one), estimate(other)) is bool(ttest_ind(one, other, equal_var=False).pvalue < 0.05)


def test_welchs_degrees_of_freedom_are_of_both_groups():
    rng = random.Random(0)
    for _ in range(2000):  # of either answer; a threshold that is a little off fails
        one, other = ([rng.gauss(mean, 1) for _ in range(rng.randint(2, 4))] for mean in (0, rng.uniform(1, 6)))
        a, b = (statistics.variance(values) / len(values) for values in (one, other))
        df = (a + b) ** 2 / (a**2 / (len(one) - 1) + b**2 / (len(other) - 1))
        p = 2 * t.sf(abs(statistics.fmean(one) - statistics.fmean(other)) / math.sqrt(a + b), df)
        assert told_apart(estimate(one), estimate(other)) is bool(p < 0.05)


@pytest.mark.parametrize(("groups", "seeds"), [(4, 3), (4, 10), (16, 3), (16, 10)])
def test_where_all_groups_are_equal_a_table_has_a_false_mark_in_a_twentieth(groups, seeds):
    rng = random.Random(1)
    tables = 1000
    false = 0
    for _ in range(tables):
        found = [estimate([rng.gauss(0, 1) for _ in range(seeds)]) for _ in range(groups)]
        best = max(found, key=lambda of: of.mean)
        false += any(told_apart(best, of, groups) for of in found if of is not best)
    assert false / tables < 0.05 + 3 * (0.05 * 0.95 / tables) ** 0.5  # Welch's interval alone: 0.13 to 0.79


def test_groups_far_apart_are_told_apart_among_many():
    one, other = estimate([1.0, 1.1, 0.9]), estimate([5.0, 5.1, 4.9])
    assert told_apart(one, other, 16) is True


def test_the_seeds_that_are_needed_tell_apart_in_four_of_five_cases():
    one, other = estimate([0.0, 1.0, 2.0]), estimate([1.0, 2.0, 3.0])  # sd 1, difference 1: 17 in tables of power
    n = seeds_to_tell_apart(one, other)
    assert n in (16, 17, 18)
    rng = random.Random(2)
    told = sum(
        bool(told_apart(estimate([rng.gauss(0, 1) for _ in range(n)]), estimate([rng.gauss(1, 1) for _ in range(n)])))
        for _ in range(1000)
    )
    assert 0.76 < told / 1000 < 0.84
    assert seeds_to_tell_apart(one, one) is None
    assert seeds_to_tell_apart(one, estimate([5.0])) is None
    assert seeds_to_tell_apart(estimate([0.0, 1e6]), estimate([1.0, 1e6])) is None


def test_equal_seeds_are_told_apart_by_any_difference_and_only_by_one():
    assert told_apart(estimate([1.0, 1.0]), estimate([2.0, 2.0])) is True
    assert told_apart(estimate([1.0, 1.0]), estimate([1.0, 1.0])) is False


def test_runs_that_differ_in_the_seed_alone_are_one_group_in_the_order_of_seeds():
    (found,) = compare([row(4, 1, mig=0.2), row(1, 0, mig=0.5), row(4, 0, mig=0.1)])
    assert [group.name for group in found.groups] == ["beta=1", "beta=4"]
    assert found.groups[1].seeds == [0, 1]
    assert found.groups[1].estimate(MIG).values == (0.1, 0.2)
    assert found.axes == {"beta": (1.0, 4.0)}


def test_a_setting_that_is_constant_where_it_is_read_is_no_axis_and_one_that_is_not_read_is_missing():
    tc = {"objective": "vae"}
    plain = row(1, 0, mig=0.1, settings=tc)
    del plain.settings["beta"]
    rows = [plain, row(2, 0, mig=0.1, settings={"schedule.beta": "constant"}), row(4, 0, mig=0.1)]
    (found,) = compare(rows)
    assert list(found.axes) == ["objective", "beta"]
    assert [group.name for group in found.groups] == [
        "objective=beta_vae, beta=2",
        "objective=beta_vae, beta=4",
        "objective=vae",
    ]


def test_a_setting_that_only_some_runs_have_is_an_axis_where_nothing_else_tells_them_apart():
    cold, warm = ([row(beta, settings=more) for beta in (1, 2)] for more in ({}, {"init_from": "ab12"}))
    (compared,) = compare([*cold, *warm])
    assert compared.axes == {"beta": (1.0, 2.0), "init_from": ("ab12",)}
    assert [group.name for group in compared.groups] == [
        "beta=1, init_from=ab12", "beta=1", "beta=2, init_from=ab12", "beta=2"
    ]  # fmt: skip


def test_numbers_are_sorted_as_numbers_and_weights_come_after_the_objective():
    rows = [row(beta, mig=0.1, settings={"z_dim": z}) for beta in (10, 2) for z in (8.0, 16.0)]
    (found,) = compare(rows)
    assert found.axes == {"beta": (2.0, 10.0), "z_dim": (8.0, 16.0)}
    assert list(compare(rows, by=["z_dim"])[0].axes) == ["z_dim", "beta"]
    assert found.numeric == ["beta", "z_dim"]


def test_only_finished_runs_enter_the_means():
    rows = [row(1, 0, mig=0.1), row(1, 1, mig=0.9, state="interrupted"), row(1, 2, state="diverged", error="NaN")]
    rows += [row(1, 3, state="killed"), row(1, 4, state="running"), row(1, 5, state="failed")]
    (found,) = compare(rows)
    assert found.groups[0].estimate(MIG).values == (0.1,)
    assert [each.state for each in found.unfinished] == ["interrupted", "killed", "running"]
    assert [each.state for each in found.failed] == ["diverged", "failed"]
    assert len(found.rows) == 6


def test_the_same_run_in_two_folders_counts_once():
    (found,) = compare([row(1, 0, mig=0.1), row(1, 1, mig=0.2), row(1, 1, mig=0.2)])
    assert found.groups[0].estimate(MIG).n == 2
    assert len(found.repeated) == 1


def test_ranks_are_shared_by_ties_and_leave_out_groups_without_the_score():
    rows = [row(1, mig=0.2), row(2, mig=0.4), row(3, mig=0.4), row(4), row(5, mig=float("nan"))]
    (found,) = compare(rows)
    ranked = [(each.place, each.group.name) for each in found.rank(MIG)]
    assert ranked == [(1, "beta=2"), (1, "beta=3"), (3, "beta=1")]


def test_the_best_reconstruction_is_the_lowest_and_noise_is_told():
    seeds = {1: (10.0, 10.2, 10.1), 2: (10.1, 10.3, 10.0), 3: (14.0, 14.1, 14.2)}
    rows = [row(beta, s, reconstruction=value) for beta, of in seeds.items() for s, value in enumerate(of)]
    ranked = compare(rows)[0].rank(RECONSTRUCTION)
    assert [(each.place, each.group.name, each.told_apart) for each in ranked] == [
        (1, "beta=1", False),
        (2, "beta=2", False),
        (3, "beta=3", True),
    ]


def test_the_front_holds_what_nothing_beats_in_both():
    points = {1: (10, 0.1), 2: (12, 0.3), 3: (13, 0.2), 4: (12, 0.25), 5: (20, 0.9), 6: (20, 0.9)}
    rows = [row(beta, reconstruction=x, mig=y) for beta, (x, y) in points.items()]
    (found,) = compare([*rows, row(7, mig=1.0)])
    front = found.front(RECONSTRUCTION, MIG)  # low reconstruction, high mig; 5 and 6 are the same point
    assert {group.name for group in front} == {"beta=1", "beta=2", "beta=5", "beta=6"}
    assert [group.estimate(RECONSTRUCTION).mean for group in front] == [10, 12, 20, 20]


def test_a_front_needs_better_ends():
    (found,) = compare([row(1, mig=0.1)])
    with pytest.raises(ValueError, match="val/kl"):
        found.front("val/kl", MIG)


def test_controls_are_means_over_the_finished_runs_that_have_them():
    controls = [{MIG: {"pca": 0.1, "chance": 0.01}}, {MIG: {"pca": 0.3}}, {}]
    rows = [row(1, seed, mig=0.5, controls=of) for seed, of in enumerate(controls)]
    rows.append(row(1, 9, state="interrupted", controls={MIG: {"pca": 9.0}}))
    (found,) = compare(rows)
    assert found.controls(MIG) == {"pca": pytest.approx(0.2), "chance": 0.01}


def test_datasets_are_compared_apart():
    found = compare([row(1, mig=0.1), row(1, dataset="shapes3d", mig=0.9), row(2, mig=0.2)])
    assert [(each.dataset, len(each.finished)) for each in found] == [("sprites", 2), ("shapes3d", 1)]
    assert found[0].groups[0].estimate(MIG).values == (0.1,)


def test_settings_of_a_dataset_that_differ_make_two_and_name_them():
    rows = [row(1, mig=0.1, settings={"dataset.scales": s, "dataset.shapes": 3.0}) for s in (2.0, 6.0)]
    assert [each.dataset for each in compare(rows)] == ["sprites, dataset.scales=2", "sprites, dataset.scales=6"]


def test_runs_of_other_images_are_compared_apart_whatever_their_settings_say():
    one, other = ({"dataset.checksum": f"sha256:{digits}"} for digits in ("00000001", "00000002"))
    early = row(3, state="failed")  # it ended before it read its images
    rows = [
        row(1, 0, mig=0.1, settings=one),
        row(1, 1, mig=0.2, settings=other),
        row(1, 2, mig=0.3, settings=one),
        early,
    ]
    found = compare(rows)
    assert [each.dataset for each in found] == [f"sprites, dataset.checksum=sha256:0000000{i}" for i in (1, 2)]
    assert [len(each.finished) for each in found] == [2, 1]
    assert found[0].failed == (early,)
    assert [len(each.finished) for each in compare(rows, {"dataset.checksum": ["sha256:00000002"]})] == [1]
    (same,) = compare([row(1, 0, mig=0.1, settings=one), early])
    assert same.dataset == "sprites"
    scales = [one | {"dataset.scales": 2.0}, other | {"dataset.scales": 6.0}]
    apart = compare([row(1, 0, mig=0.1, settings=each) for each in scales])
    assert [each.dataset for each in apart] == ["sprites, dataset.scales=2", "sprites, dataset.scales=6"]


def test_a_job_without_a_run_goes_with_its_dataset_or_the_only_one():
    job = Row("beta=9", None, "failed", error="no", settings={"beta": 9.0}, typed=True)
    (found,) = compare([row(1, mig=0.1), job])
    assert found.failed == (job,)
    typed = Row("dataset=sprites", None, "failed", settings={"dataset": "sprites"}, typed=True)
    (found,) = compare([typed, row(1, settings={"dataset.scales": 2.0})])
    assert (found.dataset, found.failed) == ("sprites", (typed,))
    named = Row("dataset=shapes3d", None, "failed", settings={"dataset": "shapes3d"}, typed=True)
    both = compare([row(1, mig=0.1), row(1, dataset="shapes3d", mig=0.1), named, job])
    assert [len(each.failed) for each in both] == [0, 1, 1]
    assert both[2].dataset == "unknown dataset"


def test_filters_keep_runs_with_one_of_the_values():
    rows = [row(beta, mig=0.1) for beta in (1, 2, 4)]
    (found,) = compare(rows, {"beta": [1.0, 4.0]})
    assert [group.name for group in found.groups] == ["beta=1", "beta=4"]


def test_filters_keep_jobs_without_a_run_unless_what_was_typed_contradicts():
    jobs = [Row(f"beta={b}", None, "failed", settings={"beta": b}, typed=True) for b in (1.0, 2.0)]
    (found,) = compare([row(1, 0), *jobs], {"beta": [1.0], "seed": [0.0]})
    assert found.failed == (jobs[0],)


def test_values_that_each_compare_all_seeds_have_no_interval_and_tell_nothing_apart():
    one, other = (estimate([value, value], "metric-runs/udr/spearman") for value in (0.22, 0.13))
    assert (one.mean, one.n, one.half) == (0.22, 2, None)
    assert told_apart(one, other) is None
    assert told_apart(one, other, among=5) is None
    assert seeds_to_tell_apart(one, other) is None


@pytest.mark.parametrize(
    ("where", "by", "message"),
    [
        ({"momentum": [1.0]}, (), "they have beta, seed, objective, dataset"),
        ({"bet": [1.0]}, (), "did you mean beta"),
        ({"beta": [3.0]}, (), "no run has beta=3; they have 1, 2"),
        ({}, ["objektive"], "did you mean objective"),
    ],
)
def test_what_no_run_has_is_named(where, by, message):
    with pytest.raises(ConfigError, match=message):
        compare([row(1), row(2)], where, by=by)


def test_one_run_is_a_group_named_after_its_dataset():
    (found,) = compare([row(1, mig=0.1)])
    assert [group.name for group in found.groups] == ["sprites"]
    assert found.axes == {}


@pytest.mark.parametrize("setting", ["eval_images", "split.validation", "trainer.precision", "steps"])
def test_runs_that_differ_in_how_they_are_done_are_no_repeats(setting):
    rows = [row(beta, seed, mig=0.1, settings={setting: seed % 2}) for beta in (1, 2) for seed in range(4)]
    (found,) = compare(rows)
    assert list(found.axes) == ["beta", setting]
    assert [group.seeds for group in found.groups] == [[0, 2], [1, 3]] * 2


def test_how_runs_are_done_comes_after_what_they_are():
    settings = {"eval_every": (5, 6), "split.held_out": (0.1, 0.2), "optimizer.lr": (0.1, 0.2), "objective": ("a", "b")}
    rows = [row(1 + i, settings={name: values[i] for name, values in settings.items()}) for i in range(2)]
    assert list(compare(rows)[0].axes) == ["objective", "beta", "optimizer.lr", "eval_every", "split.held_out"]


def test_scores_by_labels_come_before_those_of_the_codes_alone():
    tags = ["metric/sparsity/hoyer", "val/elbo", "metric/aggregate_posterior/kl_qz_pz", "metric/component_nmi/nmi", MIG]
    (found,) = compare([row(1, metrics=dict.fromkeys(tags, 0.5))])
    assert found.headline == [tags[3], MIG, tags[0], tags[2], tags[1]]


def test_a_single_seed_has_the_interval_of_its_images():
    rows = [row(1, mig=0.3, errors={MIG: 0.01}, intervals={MIG: (0.27, 0.33)}), row(2, mig=0.1, errors={MIG: 0.01})]
    (found,) = compare(rows)
    assert found.groups[0].error(MIG) == pytest.approx(0.03)
    assert found.groups[1].error(MIG) == pytest.approx(0.0196)
    assert found.groups[0].error(RECONSTRUCTION) is None


def test_the_headline_is_scores_without_details_then_terms():
    tags = ["val/kl", "val/loss", "metric/mig/histogram/shape", MIG, "metric-all/mig/histogram", "val/elbo"]
    (found,) = compare([row(1, metrics=dict.fromkeys([*tags, "metric-runs/udr/spearman"], 0.1))])
    assert found.headline == [MIG, "metric-all/mig/histogram", "val/elbo", "val/kl"]
    assert found.tags == tuple(found.headline)
