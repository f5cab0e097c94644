"""Which factor a latent is called by."""

import numpy as np
import pytest

from disvae.encoding import Encoding
from disvae.explorer.naming import names
from disvae.pictures.figure_data import FigureData


def named(codes: np.ndarray, factors: np.ndarray) -> list[tuple[str, float] | None]:
    return names(FigureData(Encoding(codes.astype(np.float32), factors, tuple("abc")[: factors.shape[1]])))


def test_a_latent_is_called_by_the_factor_that_it_tells_most_of():
    rng = np.random.default_rng(0)
    v = np.stack([rng.integers(0, 4, 5000), rng.integers(0, 10, 5000), np.zeros(5000, np.int64)], 1)
    copy, mixed = v[:, 0] + 0.0, v[:, 1] + rng.normal(0, 2, 5000) + 0.1 * v[:, 0]
    first, second, noise, constant = named(np.stack([copy, mixed, rng.normal(size=5000), np.ones(5000)], 1), v)
    assert first is not None
    assert first[0] == "a"
    assert first[1] == pytest.approx(1, abs=0.01)
    assert second is not None
    assert second[0] == "b"
    assert 0.1 < second[1] < 0.9
    assert noise is None
    assert constant is None


@pytest.mark.parametrize("N", [40, 200, 1000])
def test_latents_that_know_nothing_have_no_name_however_few_the_images(N):
    rng = np.random.default_rng(N)
    factors = np.stack([rng.integers(0, size, N) for size in (3, 6, 40)], 1)
    called = [each for _ in range(20) for each in named(rng.normal(size=(N, 10)), factors) if each is not None]
    assert len(called) <= 1


def test_without_factors_no_latent_is_called_by_one():
    assert named(np.zeros((5, 2)), np.zeros((5, 0), np.int64)) == [None, None]
    assert named(np.zeros((5, 2)), np.zeros((5, 1), np.int64)) == [None, None]
