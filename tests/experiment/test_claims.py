"""Claims of papers judged by fabricated runs, with the values and verdicts worked out by hand."""

import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.experiment.claims import INSIDE, OUTSIDE, REPORTED, UNDECIDED, Curves, claims, judge, rank_correlation


def run(seed, beta, value, objective="beta_vae", **more):
    return Curves({"seed": seed, "beta": beta, "objective": objective}, {"x": value, **more})


def found(runs, known=(), **node):
    return judge(claims({"it": {"says": "x", "of": "x", "source": "none", **node}}), runs, dict(known))


def test_the_mean_over_seeds_is_inside_only_if_its_whole_interval_is():
    runs = [run(seed, 4.0, value) for seed, value in enumerate([1.0, 2.0, 3.0])]
    of = found(runs, band=[-1, 5])["it"]
    assert of.estimate.mean == 2
    assert of.estimate.half == pytest.approx(4.303 / 3**0.5, abs=1e-3)  # Student's t with 2 degrees of freedom, sd 1
    assert of.verdict == INSIDE
    assert of.ours == "2 ±2.5, n = 3"
    assert found(runs, band=[0, 4])["it"].verdict == UNDECIDED
    assert found(runs, band=[5, 9])["it"].verdict == OUTSIDE
    assert found(runs)["it"].verdict == REPORTED


def test_one_seed_decides_only_about_single_runs():
    assert found([run(0, 4.0, 2.0)], band=[1, 3])["it"].verdict == UNDECIDED
    assert found([run(0, 4.0, 2.0)], band=[1, 3], per="run")["it"].verdict == INSIDE
    assert found([run(0, 4.0, 9.0)], band=[1, 3], per="run")["it"].verdict == OUTSIDE


def test_exceptions_count_from_five_seeds_on():
    values = [2.0, 2.0, 2.0, 2.0, 9.0]
    runs = [run(seed, 4.0, value) for seed, value in enumerate(values)]
    assert found(runs, band=[1, 3], per="run", exceptions=1)["it"].verdict == INSIDE
    assert found(runs, band=[1, 3], per="run")["it"].verdict == OUTSIDE
    assert found(runs[2:], band=[1, 3], per="run", exceptions=1)["it"].verdict == OUTSIDE


@pytest.mark.parametrize(("by", "value"), [("difference", (1.0, 1.0)), ("ratio", (1.5, 1.25))])
def test_runs_are_compared_seed_by_seed(by, value):
    runs = [run(0, 1.0, 2.0), run(1, 1.0, 4.0), run(0, 4.0, 3.0), run(1, 4.0, 5.0)]
    of = found(runs, where={"beta": 4}, against={"beta": 1}, by=by)["it"]
    assert of.values == pytest.approx(value)


def test_several_runs_of_a_seed_are_named_and_not_judged_by_their_mean():
    runs = [run(0, 1.0, 2.0), run(0, 4.0, 4.0), run(1, 1.0, 4.0)]
    of = found(runs, band=[1, 5], per="run")["it"]
    assert (of.verdict, of.values) == (UNDECIDED, ())
    assert of.ours.startswith("several runs of a seed, which differ in beta: ")
    more = [*runs, run(0, 1.0, 3.0, "beta_tc")]
    assert found(more, where={"objective": "beta_tc"}, against={"objective": "beta_vae"})["it"].mixed == "beta"
    assert found(runs, where={"beta": 1})["it"].values == (2.0, 4.0)


def test_a_run_without_the_value_is_missing_and_decides_nothing():
    runs = [run(0, 4.0, 2.0), run(1, 4.0, 2.0), Curves({"seed": 2, "beta": 4.0}, {})]
    of = found(runs, band=[1, 3])["it"]
    assert of.verdict == UNDECIDED
    assert of.ours == "2 ±0, n = 2, 1 missing"
    assert found([], band=[1, 3])["it"].ours == "no run has it"


def test_each_gives_a_claim_for_every_value_and_compares_at_the_same_value():
    runs = [
        run(0, beta, beta * k, objective) for beta in (2.0, 8.0) for k, objective in ((1, "beta_vae"), (3, "beta_tc"))
    ]
    of = found(runs, where={"objective": "beta_tc"}, against={"objective": "beta_vae"}, each="beta")
    assert {label: one.values for label, one in of.items()} == {"it beta=2": (4.0,), "it beta=8": (16.0,)}


def test_each_over_a_setting_that_the_others_lack_compares_with_all_of_them():
    kinds = [
        Curves({"seed": 0, "objective": "dip_vae", "objective.kind": kind}, {"x": x})
        for kind, x in (("I", 3), ("II", 5))
    ]
    of = found([*kinds, run(0, 1.0, 1.0, "vae")], where={"objective": "dip_vae"}, against={"objective": "vae"},
               each="objective.kind")  # fmt: skip
    assert [one.values for one in of.values()] == [(2.0,), (4.0,)]


def test_along_is_the_rank_correlation_within_a_seed():
    runs = [run(seed, beta, value) for seed in (0, 1) for beta, value in ((1.0, 9.0), (2.0, 5.0), (4.0, 1.0))]
    assert found(runs, along="beta")["it"].values == pytest.approx((-1, -1))
    runs = [run(0, beta, beta, y=-beta) for beta in (1.0, 2.0, 4.0)]
    assert found(runs, along="y")["it"].values == pytest.approx((-1,))
    assert rank_correlation(np.array([1.0, 2, 2, 3]), np.array([1.0, 3, 2, 4])) == pytest.approx(0.9486833)


def test_several_values_are_averaged_and_steps_cut_a_curve():
    one = Curves({"seed": 0}, {"a": 1.0, "b": 4.0}, {"c": (np.array([10, 20, 30]), np.array([1.0, 3.0, 8.0]))})
    assert found([one], of=["a", "b"])["it"].values == (2.5,)
    assert found([one], of=["a", "none"])["it"].values == ()
    assert found([one], of="c", steps=[11, 30])["it"].values == (5.5,)
    assert found([one], of="c", steps=[31, 40])["it"].values == ()


def test_exact_values_need_no_runs():
    assert found([], {"x": 0.5}, exact=True, band=[0, 1], per="run")["it"].verdict == INSIDE


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"says": "x", "of": "x"}, "claim it: .*'source'"),
        ({"says": "x", "of": "x", "source": "hearsay"}, "claim it: source must be one of code, computed"),
        ({"says": "x", "of": "x", "source": "log", "band": [2, 1]}, r"claim it: band must be two numbers in order"),
        ({"says": "x", "of": "x", "source": "log", "bands": [1, 2]}, "claim it: bands is no key of a claim"),
    ],
)
def test_a_claim_that_is_wrong_is_named(node, message):
    with pytest.raises(ConfigError, match=message):
        claims({"it": node})


def test_a_recalled_number_is_never_shown_as_read():
    of = claims({"it": {"says": "x", "of": "x", "source": "memory", "published": 0.82}})["it"]
    assert of.citation == "0.82 (recalled, not read in the paper)"
