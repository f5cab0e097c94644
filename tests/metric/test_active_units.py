"""Active units are counted by variance."""

import numpy as np
import pytest

from disvae.metric.active_units import ActiveUnits


def test_latents_above_the_threshold_are_counted():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((2000, 5)) * [1, 0.2, 0.05, 0.12, 0] + 7  # variances 1, 0.04, 0.0025, 0.0144, 0
    assert ActiveUnits(threshold=0.01)(codes) == {"count": 3}
    assert ActiveUnits(threshold=0.001)(codes) == {"count": 4}
    assert ActiveUnits(threshold=0)(codes) == {"count": 4}


def test_the_count_is_of_variances_and_not_of_deviations():
    codes = np.tile([[-0.05], [0.05]], (500, 1))  # variance 0.0025, standard deviation 0.05
    assert ActiveUnits(threshold=0.01)(codes) == {"count": 0}
    assert ActiveUnits(threshold=0.0024)(codes) == {"count": 1}


def test_a_negative_threshold_is_refused():
    with pytest.raises(ValueError, match="threshold must be at least 0, got -1"):
        ActiveUnits(threshold=-1)
