"""Schedules at their ends, between them, and as pure functions of the step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disvae.pictures.schedule_plot import schedule_plot
from disvae.schedule.constant import Constant
from disvae.schedule.cosine import Cosine
from disvae.schedule.cyclical import Cyclical
from disvae.schedule.linear import Linear

RAMPS = [Linear, Cosine]


@pytest.mark.parametrize("ramp", RAMPS)
def test_ramps_run_from_start_to_value_and_stay(ramp):
    weight = ramp(value=8, start=2, until=0.5, steps=100)
    assert [weight(t) for t in (0, 25, 50, 75, 100, 10**9)] == pytest.approx([2, 5, 8, 8, 8, 8])


def test_burgess_capacity_reaches_its_nats_a_third_into_the_run():
    capacity = Linear(value=25, until=1 / 3, steps=300_000)
    assert [capacity(t) for t in (0, 50_000, 100_000, 300_000)] == pytest.approx([0, 12.5, 25, 25])


def test_linear_moves_by_equal_amounts_and_cosine_starts_and_ends_slowly():
    linear, cosine = (ramp(value=1, start=0, until=1, steps=10) for ramp in RAMPS)
    assert [linear(t) for t in range(11)] == pytest.approx([t / 10 for t in range(11)])
    assert cosine(1) == pytest.approx((1 - math.cos(math.pi / 10)) / 2)
    assert cosine(1) < linear(1)
    assert cosine(9) > linear(9)


@pytest.mark.parametrize("ramp", RAMPS)
def test_ramps_may_fall(ramp):
    weight = ramp(value=1, start=10, until=1, steps=10)
    assert [weight(t) for t in (0, 5, 10)] == pytest.approx([10, 5.5, 1])


def test_cyclical_starts_each_cycle_at_zero_and_spends_its_rest_at_full_weight():
    weight = Cyclical(value=4, cycles=4, ramp=0.5, steps=100)
    assert [weight(25 * k) for k in range(4)] == [0, 0, 0, 0]
    assert [weight(t) for t in (5, 30)] == pytest.approx([1.6, 1.6])
    assert [weight(t) for t in (13, 24, 38, 99)] == pytest.approx([4, 4, 4, 4])
    assert [weight(t) for t in (100, 10**6)] == [4, 4]  # after the run the weight is the full one


def test_constant_does_not_move():
    assert {Constant(value=3)(t) for t in (0, 1, 10**9)} == {3.0}


WEIGHT = st.floats(0, 1e6)
SHARE = st.floats(0.01, 1)


@given(value=WEIGHT, start=WEIGHT, share=SHARE, steps=st.integers(8, 10**6), step=st.integers(0, 10**7))
def test_weights_are_pure_and_stay_between_their_ends(value, start, share, steps, step):
    for weight, low in (
        (Constant(value=value), value),
        (Linear(value=value, start=start, until=share, steps=steps), start),
        (Cosine(value=value, start=start, until=share, steps=steps), start),
        (Cyclical(value=value, cycles=8, ramp=share, steps=steps), 0),
    ):
        at = weight(step)
        weight(step // 2)  # asking for another step changes nothing
        assert weight(step) == at
        assert min(low, value) - 1e-9 * max(low, value) <= at <= max(low, value) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("schedule", "settings", "name"),
    [
        (Constant, {"value": -1}, "value"),
        (Constant, {"value": math.inf}, "value"),
        (Constant, {"value": math.nan}, "value"),
        (Linear, {"value": 1, "until": 0, "steps": 10}, "until"),
        (Linear, {"value": 1, "until": 1.1, "steps": 10}, "until"),
        (Linear, {"value": 1, "start": -1, "until": 1, "steps": 10}, "start"),
        (Cosine, {"value": 1, "until": 1, "steps": 0}, "steps"),
        (Cosine, {"value": -1, "until": 1, "steps": 10}, "value"),
        (Cyclical, {"value": 1, "cycles": 0, "ramp": 1, "steps": 10}, "cycles"),
        (Cyclical, {"value": 1, "cycles": 1, "ramp": 0, "steps": 10}, "ramp"),
        (Cyclical, {"value": 1, "cycles": 11, "ramp": 1, "steps": 10}, "steps"),
        (Cyclical, {"value": math.nan, "cycles": 1, "ramp": 1, "steps": 10}, "value"),
    ],
)
def test_settings_are_checked_at_the_door(schedule, settings, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        schedule(**settings)


def test_the_figure_shows_every_schedule_over_the_whole_run():
    named = {"beta": Constant(value=4), "capacity": Linear(value=25, until=0.33, steps=5000)}
    beta, capacity = schedule_plot(named, steps=5000).axes
    (line,) = capacity.lines
    steps, weights = line.get_data()
    assert (steps[0], steps[-1]) == (0, 4999)
    assert list(weights) == [named["capacity"](int(t)) for t in steps]
    assert set(beta.lines[0].get_ydata()) == {4}
    assert "beta" in beta.get_ylabel()
    assert "nats" in capacity.get_ylabel()
    assert "step" in capacity.get_xlabel()


def test_the_figure_needs_a_schedule_and_a_run():
    with pytest.raises(ValueError, match="schedules must be named"):
        schedule_plot({}, steps=10)
