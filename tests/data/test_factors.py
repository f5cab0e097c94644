"""Any values become class indices in their order; continuous ones become classes only where that is asked for."""

import numpy as np
import pytest

from disvae.data.factors import binned, class_indices


def test_values_become_their_ranks_and_constants_no_factor():
    values = np.array([[1.0, 0.5, 7.0], [1.0, 0.1, 9.0], [1.0, 0.5, 8.0]])
    classes, names, sizes, _ = class_indices(values, ["color", "hue", "angle"])
    assert classes.tolist() == [[1, 0], [0, 2], [1, 1]]
    assert names == ("hue", "angle")
    assert sizes == (2, 3)


def test_nothing_varies_in_one_row():
    classes, names, sizes, _ = class_indices(np.zeros((1, 2)), ["a", "b"])
    assert classes.shape == (1, 0)
    assert names == sizes == ()


def test_continuous_columns_become_classes_of_equally_many_rows():
    factors = np.stack([np.arange(100) % 3, np.random.default_rng(0).permutation(100) / 7], axis=1)
    classes = binned(factors, 20)
    assert np.array_equal(classes[:, 0], factors[:, 0])
    assert np.bincount(classes[:, 1]).tolist() == [5] * 20
    assert (np.diff(classes[factors[:, 1].argsort(), 1]) >= 0).all()


def test_few_distinct_values_stay_apart_and_classes_are_not_binned():
    assert binned(np.array([[0.5], [0.1], [0.5], [7.0]]), 3)[:, 0].tolist() == [1, 0, 1, 2]
    whole = np.arange(100)[:, None]
    assert binned(whole, 3) is whole
    with pytest.raises(ValueError, match="factors must be finite, got nan in row 1"):
        binned(np.array([[0.5], [np.nan]]), 3)
