"""The studentised range against scipy.stats and against Student's t, of which it is a multiple for two groups."""

import math

import pytest
from scipy.stats import studentized_range, t

from disvae.statistics.studentized_range import range_quantile


@pytest.mark.parametrize("df", [1, 2, 4, 18, 1000])
@pytest.mark.parametrize("among", [3, 16, 200])
def test_quantiles_are_scipys(among, df):
    assert range_quantile(0.95, among, df) == pytest.approx(studentized_range.ppf(0.95, among, df), rel=2e-5)


@pytest.mark.parametrize("df", [2, 3, 10])
def test_two_groups_are_students_t(df):
    assert range_quantile(0.95, 2, df) == pytest.approx(math.sqrt(2) * t.ppf(0.975, df), rel=2e-5)
