"""The pinwheel and the blobs have the distributions they are said to have."""

import numpy as np
import pytest

from disvae.dataset.clusters import Clusters


def points(data: Clusters) -> np.ndarray:
    """(N, 2) as float64."""
    return data.images.data.numpy()[:, 0, 0].astype(float)


def test_default_is_mathieus_four_arms_of_a_hundred_points():
    data = Clusters()
    assert data.x_shape == (1, 1, 2)
    assert data.images.data.shape == (400, 1, 1, 2)
    assert np.bincount(data.factors[:, 0]).tolist() == [100] * 4
    assert (data.factor_names, data.factor_sizes) == (("cluster",), (4,))


def test_untwisted_arm_is_a_gaussian_along_and_across():
    data = Clusters("pinwheel", clusters=3, points=50_000)
    z = points(data) @ [1, 1j] * np.exp(-2j * np.pi * data.factors[:, 0] / 3)
    # A rotation keeps the distance from the origin, and r is that distance but for the narrow spread across.
    r = np.sqrt(np.maximum(np.abs(z) ** 2 - 0.1**2, 0))
    straight = z * np.exp(-0.25j * np.exp(r))
    assert np.median(straight.real) == pytest.approx(1, abs=0.01)
    assert np.median(straight.imag) == pytest.approx(0, abs=0.01)
    assert straight.real.std() == pytest.approx(0.3, rel=0.02)
    assert straight.imag.std() == pytest.approx(0.1, rel=0.05)


def test_second_moment_is_that_of_radius_and_lateral():
    z = points(Clusters("pinwheel", points=50_000))
    assert (z**2).sum(axis=1).mean() == pytest.approx(1 + 0.3**2 + 0.1**2, rel=0.01)


def test_arms_are_one_arm_turned():
    z = points(Clusters("pinwheel", clusters=5, points=100_000)) @ [1, 1j]
    means = z.reshape(5, -1).mean(axis=1)
    assert np.allclose(means / means[0], np.exp(2j * np.pi * np.arange(5) / 5), atol=0.01)


def test_blobs_are_round_gaussians_on_the_unit_circle():
    z = points(Clusters("blobs", clusters=6, points=50_000)).reshape(6, -1, 2)
    angle = 2 * np.pi * np.arange(6) / 6
    assert np.allclose(z.mean(axis=1), np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=0.003)
    for blob in z:
        assert np.allclose(np.cov(blob.T), 0.01 * np.eye(2), atol=3e-4)


def test_seed_decides_the_points():
    assert np.array_equal(points(Clusters(seed=1)), points(Clusters(seed=1)))
    assert Clusters(seed=1).checksum == Clusters(seed=1).checksum != Clusters(seed=0).checksum


def test_values_that_are_no_clusters_are_refused():
    with pytest.raises(ValueError, match="kind must be pinwheel or blobs, got moons"):
        Clusters("moons")
    with pytest.raises(ValueError, match="clusters and points must be positive, got 4 and 0"):
        Clusters(points=0)
