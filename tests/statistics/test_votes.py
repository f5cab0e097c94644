"""Rows that share one factor's value: who may be drawn, how often, and who may not."""

import numpy as np
import pytest

from disvae.statistics.votes import SameValue, cast, halves

VALUES = np.array([0, 1, 0, 2, 1, 0, 3, 1, 1])  # 0 in three rows, 1 in four, 2 and 3 in one
ROWS = np.arange(9) + 100
HELD = {100: {100, 102, 105}, 101: {101, 104, 107, 108}}


def of(row: int) -> int:
    return int(VALUES[row - 100])


def test_a_vote_is_cast_on_rows_of_one_value():
    drawn = SameValue(ROWS, VALUES, "x").draw(2000, 5, np.random.default_rng(0))
    assert drawn.shape == (5, 2000)
    values = VALUES[drawn - 100]
    assert (values == values[0]).all()
    assert set(drawn.ravel()) == HELD[100] | HELD[101]  # all of a shared value, none of a value alone
    assert (values[0] == 0).mean() == pytest.approx(3 / 7, abs=0.04)  # as often as rows hold it


def test_rows_of_a_value_are_drawn_equally_often_and_independently():
    drawn = SameValue(ROWS, VALUES, "x").draw(20_000, 2, np.random.default_rng(0))
    ones = drawn[:, VALUES[drawn[0] - 100] == 1]
    table = np.array([[(ones == [[a], [b]]).all(0).mean() for a in HELD[101]] for b in HELD[101]])
    np.testing.assert_allclose(table, 1 / 16, atol=0.01)


def test_pairs_share_a_value_and_are_never_one_row_twice():
    one, other = SameValue(ROWS, VALUES, "x").pairs(10_000, 3, np.random.default_rng(0))
    assert one.shape == other.shape == (3, 10_000)
    assert (VALUES[one - 100] == VALUES[other - 100]).all()
    for members in HELD.values():
        among = {(a, b): ((one == a) & (other == b)).mean() for a in members for b in members}
        assert all(among[a, a] == 0 for a in members)
        # Of 7 rows each as likely first, then each other row of its value.
        expected = 1 / 7 / (len(members) - 1)
        assert [p for (a, b), p in among.items() if a != b] == pytest.approx(
            [expected] * (len(members) * (len(members) - 1)), abs=0.006
        )


def test_values_differ_between_the_pairs_of_a_vote():
    one, _ = SameValue(ROWS, VALUES, "x").pairs(1000, 10, np.random.default_rng(0))
    both = VALUES[one - 100].std(axis=0) > 0
    assert both.mean() > 0.95


def test_a_factor_without_a_shared_value_is_named():
    with pytest.raises(ValueError, match="factor posX must have a value that occurs in two rows"):
        SameValue(np.arange(3), np.arange(3), "posX")


def test_halves_share_no_row_and_leave_none_out():
    one, other = halves(11, np.random.default_rng(0))
    assert (len(one), len(other)) == (5, 6)
    assert sorted([*one, *other]) == list(range(11))


def test_factors_are_fixed_equally_often_in_blocks_that_fit():
    factors = np.random.default_rng(0).integers(0, 3, (60, 2))
    rows = np.arange(0, 60, 2)
    asked = []

    def vote(same: SameValue, n: int) -> np.ndarray:
        asked.append(n)
        drawn = same.draw(n, 4, np.random.default_rng(len(asked)))
        assert np.isin(drawn, rows).all()
        return (factors[drawn] == factors[drawn[0]]).all(axis=0)  # (n, 2): which factor is the same in all four

    said, fixed = cast(vote, factors, ["a", "b"], rows, 101, 20)
    assert np.bincount(fixed).tolist() == [51, 50]
    assert asked == [20, 20, 11, 20, 20, 10]
    assert said[np.arange(101), fixed].all()  # the vote was cast with that very factor fixed
    assert said[np.arange(101), 1 - fixed].mean() < 0.2
