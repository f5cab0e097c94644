"""Choosing by UDR: which seed, ties, agreement among the very runs of a group, and what it costs."""

import pytest

from disvae.comparison.groups import compare
from disvae.comparison.udr import TAG, among, cells, choices, conclusions, stale
from tests.comparison.fabricated import row

MIG, RECONSTRUCTION = "metric/mig/histogram", "val/reconstruction"


def group(beta, udr, mig, peers=None, **more):
    names = frozenset(f"sprites-beta={beta},seed={seed}" for seed in range(len(udr)))
    return [
        row(beta, seed, metrics={TAG: u, MIG: m}, peers=names if peers is None else peers, **more)
        for seed, (u, m) in enumerate(zip(udr, mig, strict=True))
    ]


def test_udr_chooses_the_seed_it_likes_best_and_the_score_judges_it():
    (choice,) = choices(compare(group(1, (0.2, 0.9, 0.5), (0.1, 0.3, 0.8)))[0].groups, MIG)
    assert [each.settings["seed"] for each in choice.chosen] == [1]
    assert (choice.value, [row.settings["seed"] for row in choice.best], choice.best_value) == (0.3, [2], 0.8)
    assert (choice.agreement, choice.worst) == (0.5, 0.1)
    assert choice.mean == pytest.approx(0.4)


def test_where_low_is_better_best_and_worst_are_turned_round():
    rows = group(1, (0.2, 0.9), (0.1, 0.3))
    for each, value in zip(rows, (5.0, 7.0), strict=True):
        each.metrics[RECONSTRUCTION] = value
    (choice,) = choices(compare(rows)[0].groups, RECONSTRUCTION)
    assert (choice.best_value, choice.worst) == (5.0, 7.0)


def test_a_tie_chooses_all_and_is_worth_their_mean():
    (choice,) = choices(compare(group(1, (0.4, 0.4), (0.1, 0.3)))[0].groups, MIG)
    assert len(choice.chosen) == 2
    assert choice.value == pytest.approx(0.2)
    assert cells(choice)[2] == "0 or 1"
    assert conclusions([choice], MIG) == ["or: equal UDR, as always with two seeds; the value is their mean"]


def test_seeds_of_the_same_best_value_are_all_named():
    (choice,) = choices(compare(group(1, (0.4, 0.5, 0.6), (0.3, 0.1, 0.3)))[0].groups, MIG)
    assert cells(choice) == ["sprites", "0.500", "2", "0.3", "0 or 2", "0.3", "0.2333", "0.1"]


def test_of_groups_the_highest_median_is_chosen():
    rows = group(1, (0.1, 0.9, 0.2), (0.5, 0.5, 0.5)) + group(2, (0.3, 0.4, 0.3), (0.1, 0.1, 0.1))
    found = choices(compare(rows)[0].groups, MIG)
    assert among(found).group.name == "beta=2"
    (said,) = conclusions(found, MIG)
    assert said == "UDR chooses the group beta=2 (mig/histogram 0.1); mig/histogram would choose beta=1 (0.5)"


@pytest.mark.parametrize(
    "rows",
    [
        group(1, (0.4, 0.4), (0.1, 0.3), peers=frozenset({"another"})),
        group(1, (0.4, 0.4), (0.1, 0.3), peers=frozenset()),
        group(1, (0.4, 0.4, 0.4), (0.1, 0.3, 0.2), peers=frozenset(f"sprites-beta=1,seed={s}" for s in range(2))),
    ],
)
def test_udr_of_other_runs_does_not_count(rows):
    (of,) = compare(rows)
    assert stale(of.groups[0])
    assert choices(of.groups, MIG) == []


def test_one_seed_leaves_no_choice():
    assert choices(compare(group(1, (0.4,), (0.1,)))[0].groups, MIG) == []


def test_a_group_with_an_unscored_seed_is_left_out():
    rows = group(1, (0.4, 0.5), (0.1, 0.2))
    del rows[0].metrics[MIG]
    assert choices(compare(rows)[0].groups, MIG) == []


def test_a_term_without_a_better_end_judges_nothing():
    rows = group(1, (0.4, 0.5), (0.1, 0.2))
    for each in rows:
        each.metrics["val/kl"] = 1.0
    assert choices(compare(rows)[0].groups, "val/kl") == []
