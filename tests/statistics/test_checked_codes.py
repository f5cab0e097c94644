"""What cannot be scored is refused with what was got and what is needed."""

import numpy as np
import pytest

from disvae.statistics.checked_codes import checked

CODES = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
FACTORS = np.stack([np.arange(20) % 2, np.arange(20) % 5], axis=1)


def test_codes_come_as_float64_and_factors_as_indices_from_zero():
    codes, factors, names = checked(CODES, FACTORS * 10 - 3, ["a", "b"], 2, 10)
    assert codes.dtype == np.float64
    assert (factors == FACTORS).all()
    assert names == ["a", "b"]


def test_a_vector_of_labels_is_one_factor_and_names_are_numbered():
    _, factors, names = checked(CODES, FACTORS[:, 1], (), 1, 10)
    assert factors.shape == (20, 1)
    assert names == ["0"]


def test_codes_alone_are_enough_where_no_factor_is_read():
    assert checked(CODES, None, (), 0, 10)[1].shape == (20, 0)


BAD = [
    (CODES[:, 0], FACTORS, r"codes must be \(N, D\).*\(20,\)"),
    (CODES[:, :0], FACTORS, r"\(20, 0\)"),
    (CODES.astype(str), FACTORS, "must be real numbers"),
    (CODES[:5], FACTORS[:5], "at least 10 samples are needed, got 5"),
    (CODES, FACTORS[:19], r"factors must be \(20, K\).*\(19, 2\)"),
    (CODES, FACTORS[:, :1], "at least 2 factors are needed, got 1"),
    (CODES, FACTORS * [[1, 0]], "factor b must take at least 2 values, got only 0"),
    (CODES, FACTORS + 0.31, r"factor a must hold class indices, got 0\.31.*type score.bins=20"),
    (CODES + 0j, FACTORS, "must be real numbers"),
    (CODES * 1e31, FACTORS, r"finite and at most 1e\+30"),
    (CODES, np.where(np.arange(40).reshape(20, 2) == 7, np.nan, FACTORS), "factor b .*got nan in row 3: leave such"),
    (CODES, np.where(np.arange(40).reshape(20, 2) == 8, -np.inf, FACTORS), "factor a .*got -inf in row 4: leave such"),
    (CODES, FACTORS.astype(object), "factor a must hold class indices, got 0: number its classes"),
]


@pytest.mark.parametrize(("codes", "factors", "message"), BAD)
def test_bad_input_is_named(codes, factors, message):
    with pytest.raises(ValueError, match=message):
        checked(codes, factors, ["a", "b"][: factors.shape[1]], 2, 10)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_code_that_is_not_finite_is_named_with_its_place(bad):
    codes = CODES.copy()
    codes[7, 2] = bad
    with pytest.raises(ValueError, match=f"got {bad} in row 7, latent 2"):
        checked(codes, FACTORS, (), 2, 10)


def test_whole_floats_and_booleans_are_class_indices():
    assert (checked(CODES, FACTORS.astype(float), (), 2, 10)[1] == FACTORS).all()
    assert (checked(CODES, FACTORS > 0, (), 2, 10)[1] == (FACTORS > 0)).all()


def test_strings_are_classes_in_alphabetical_order():
    assert checked(CODES, np.array(["dog", "cat"] * 10), (), 1, 10)[1][:, 0].tolist() == [1, 0] * 10


def test_two_factors_cannot_share_a_name():
    with pytest.raises(ValueError, match="must have different names, got a, a"):
        checked(CODES, FACTORS, ["a", "a"], 2, 10)


def test_names_must_be_as_many_as_factors():
    with pytest.raises(ValueError, match="names must be 2, one per factor, got a"):
        checked(CODES, FACTORS, ["a"], 2, 10)
