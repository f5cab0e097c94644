"""Successive halving: rungs, costs and survivors by hand, with trained runs replaced by known curves."""

import pytest

from disvae.comparison.groups import estimate
from disvae.config import ConfigError
from disvae.tuning.halving import Candidate, budget_seconds, climb, cost, longest, rungs
from disvae.tuning.result import draw_rungs, how_sure, result_table, winners_command
from disvae.tuning.trials import Goal, axes_of


@pytest.mark.parametrize(
    ("candidates", "expected"), [(1, [90]), (2, [30, 90]), (3, [30, 90]), (4, [10, 30, 90]), (9, [10, 30, 90])]
)
def test_rungs_grow_threefold_to_the_last(candidates, expected):
    assert rungs(candidates, 90) == expected


def test_a_rung_continues_the_runs_of_the_one_before():
    assert cost(9, [10, 30, 90]) == 9 * 10 + 3 * 20 + 1 * 60
    assert cost(4, [10, 30, 90]) == 4 * 10 + 2 * 20 + 1 * 60


def test_a_budget_buys_the_longest_rungs_that_fit_it():
    top = longest(9, 210, 10_000)
    assert cost(9, rungs(9, top)) <= 210 < cost(9, rungs(9, top + 9))
    assert longest(9, 1e9, 500) == 500


def test_too_few_steps_for_the_candidates_are_refused():
    with pytest.raises(ConfigError, match="steps must be at least 9 for 9 candidates, got 8"):
        rungs(9, 8)


def trained(quality, calls):
    def train(candidates, steps):
        calls.append((steps, [each.name for each in candidates]))
        for each in candidates:
            if quality[each.name] is None:
                each.reason = "diverged"
            else:
                each.values.append(estimate([quality[each.name] * steps, quality[each.name] * steps + 0.1]))

    return train


@pytest.mark.parametrize(("sign", "best", "second"), [(1, "beta=9", "beta=8"), (-1, "beta=1", "beta=2")])
def test_the_best_third_goes_on_and_comes_first(sign, best, second):
    calls = []
    candidates = [Candidate((f"beta={i}",)) for i in range(1, 10)]
    ranked = climb(
        candidates, [10, 30, 90], trained({each.name: i + 1 for i, each in enumerate(candidates)}, calls), sign
    )
    assert [(steps, len(names)) for steps, names in calls] == [(10, 9), (30, 3), (90, 1)]
    assert ranked[0].name == best
    assert ranked[1].name == second
    assert how_sure(ranked).startswith(f"second: {second}, 30 away; the seeds tell them apart")


def test_udr_has_one_value_for_all_seeds_so_nothing_is_told_apart():
    candidates = [Candidate((f"beta={beta}",)) for beta in (2, 16)]
    for each, udr in zip(candidates, (0.13, 0.22), strict=True):
        each.values.append(estimate([udr, udr], "metric-runs/udr/spearman"))
    assert "they do not say how sure this is" in how_sure(candidates)
    (first, _) = result_table(candidates, [10], "metric-runs/udr/spearman").rows
    assert first[1].text == "0.13"


def test_a_candidate_that_fails_is_left_behind_with_its_reason():
    candidates = [Candidate(("beta=1",)), Candidate(("beta=2",))]
    ranked = climb(candidates, [10, 30], trained({"beta=1": None, "beta=2": 1.0}, []), 1)
    assert [each.name for each in ranked] == ["beta=2", "beta=1"]
    rows = result_table(ranked, [10, 30], "val/elbo").rows
    assert [[cell.text for cell in row] for row in rows][1] == ["beta=1", "", "", "diverged"]
    assert draw_rungs(ranked, [10, 30], "val/elbo").axes[0].get_xlabel() == "optimiser steps"
    with pytest.raises(ConfigError, match="no candidate has a value of the goal: diverged"):
        climb([Candidate(("beta=1",))], [10], trained({"beta=1": None}, []), 1)


def test_axes_are_the_settings_with_several_values_and_dots_span_a_range():
    combinations, fixed = axes_of(["objective=beta_tc", "beta=1..16", "z_dim=6,10"])
    assert fixed == ["objective=beta_tc"]
    assert len(combinations) == 10
    assert combinations[0] == ("beta=1", "z_dim=6")
    assert {each[0] for each in combinations} == {f"beta={value}" for value in (1, 2, 4, 8, 16)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beta=4"], "nothing to choose from: give a setting several values"),
        (["beta=1,2", "seed=0,1"], "seed=0,1: tune sets seed itself; leave it out"),
        (["beta=1,2", "final=all"], "tune sets final itself"),
    ],
)
def test_arguments_that_cannot_be_tuned_are_refused(arguments, message):
    with pytest.raises(ConfigError, match=message):
        axes_of(arguments)


def test_goals_and_budgets_have_a_better_end_and_a_unit():
    assert (Goal.of("elbo").tag, Goal.of("elbo").final) == ("val/elbo", "final=[]")
    assert Goal.of("metric/mig-bins40/histogram").final == "final=[mig]"
    assert Goal.of("udr").sign == 1
    with pytest.raises(ConfigError, match=r"goal must be elbo, udr, .* got 'val/kl'"):
        Goal.of("val/kl")
    assert (budget_seconds("90s"), budget_seconds("1.5h")) == (90, 5400)
    for text in ("2", "0h", "two hours"):
        with pytest.raises(ConfigError, match="budget must be a time such as 90s, 40m or 2h"):
            budget_seconds(text)


def test_the_winners_command_continues_its_run():
    winner = Candidate(("beta=4", "z_dim=6"))
    assert winners_command(["objective=beta_tc"], winner, 1111, 9999) == (
        "python -m disvae.train objective=beta_tc beta=4 z_dim=6 eval_every=1111 steps=9999"
    )
