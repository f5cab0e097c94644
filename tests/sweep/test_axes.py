"""Axes: ranges, grids and axes that go together."""

import numpy as np
import pytest

from disvae.config import ConfigError
from disvae.sweep.axes import combinations, expand, varied


@pytest.mark.parametrize("name", ["linspace", "logspace", "geomspace"])
@pytest.mark.parametrize("ends", [(1, 3, 5), (-2, -0.5, 4), (0.5, 0.01, 9)])
def test_ranges_are_numpys(name, ends):
    key, _, values = expand(f"beta={name}({ends[0]},{ends[1]}, {ends[2]})").partition("=")
    assert key == "beta"
    assert [float(value) for value in values.split(",")] == pytest.approx(getattr(np, name)(*ends), rel=1e-5)


def test_whole_numbers_stay_whole_and_lists_may_hold_ranges():
    assert expand("beta=0,logspace(0,2,3)") == "beta=0,1,10,100"
    assert expand("+x.y=linspace(0,1,3)") == "+x.y=0,0.5,1"


@pytest.mark.parametrize("argument", ["beta=range(0,3)", "experiment=logspace", "-m", "out=a(1)", "beta=1,2"])
def test_all_else_is_left_to_hydra(argument):
    assert expand(argument) == argument


@pytest.mark.parametrize(
    "bad",
    ["logspace(0,2)", "logspace(0,2,1)", "linspace(0,2,2.5)", "logspace(a,2,3)", "geomspace(0,2,3)",
     "logspace(0,999,3)", "geomspace(-1,2,3)", "logspace()"],
)  # fmt: skip
def test_a_range_that_is_none_is_named(bad):
    with pytest.raises(ConfigError, match=r"beta=.*takes two ends.*logspace\(0,2,9\)"):
        expand(f"beta={bad}")


AXES = {
    "objective": ["objective=vae"],
    "beta": ["beta=1", "beta=4"],
    "seed": ["seed=0", "seed=1"],
    "alpha": ["a=0", "a=9"],
}


def test_a_grid_has_every_combination_the_last_axis_fastest():
    jobs = combinations(AXES, [])
    assert len(jobs) == 8
    assert jobs[0] == ["objective=vae", "beta=1", "seed=0", "a=0"]
    assert jobs[1] == ["objective=vae", "beta=1", "seed=0", "a=9"]
    assert len({tuple(job) for job in jobs}) == 8


def test_what_varies_is_what_jobs_differ_in_but_for_the_dataset():
    jobs = [
        ["dataset=a", "schedule@schedule.beta=linear", "seed=0"],
        ["dataset=b", "schedule@schedule.beta=x", "seed=0"],
    ]
    assert varied(jobs) == ["schedule.beta"]
    assert varied(jobs[:1]) == []


def test_zipped_axes_go_together_at_the_first_ones_place():
    jobs = combinations(AXES, ["alpha", "beta"])
    assert jobs == [
        ["objective=vae", "a=0", "beta=1", "seed=0"],
        ["objective=vae", "a=0", "beta=1", "seed=1"],
        ["objective=vae", "a=9", "beta=4", "seed=0"],
        ["objective=vae", "a=9", "beta=4", "seed=1"],
    ]


@pytest.mark.parametrize(
    ("zipped", "said"),
    [
        (["beta"], "two or more axes"),
        (["beta", "gamma"], "gamma has 0 values"),
        (["beta", "objective"], "objective has 1 value$"),
        (["beta", "long"], "beta has 2 values, long has 3 values"),
        (["beta", "beta"], "two or more axes"),
    ],
)
def test_axes_that_cannot_go_together_are_named(zipped, said):
    with pytest.raises(ConfigError, match=said):
        combinations(AXES | {"long": ["x=1", "x=2", "x=3"]}, zipped)


def test_no_axes_make_one_job():
    assert combinations({}, []) == [[]]
