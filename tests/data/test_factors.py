"""Any values become class indices in their order."""

import numpy as np

from disvae.data.factors import class_indices


def test_values_become_their_ranks_and_constants_no_factor():
    values = np.array([[1.0, 0.5, 7.0], [1.0, 0.1, 9.0], [1.0, 0.5, 8.0]])
    classes, names, sizes = class_indices(values, ["color", "hue", "angle"])
    assert classes.tolist() == [[1, 0], [0, 2], [1, 1]]
    assert names == ("hue", "angle")
    assert sizes == (2, 3)


def test_nothing_varies_in_one_row():
    classes, names, sizes = class_indices(np.zeros((1, 2)), ["a", "b"])
    assert classes.shape == (1, 0)
    assert names == sizes == ()
