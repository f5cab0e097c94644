"""The fill is the definition, a pixel's centre in the polygon, and its rule for centres on the outline."""

import numpy as np
import pytest

from disvae.data import polygon


def drawn(vertices: np.ndarray) -> np.ndarray:
    """The image (64, 64) of one polygon with vertices (V, 2) in 1/256 pixel."""
    rows = polygon.fill(vertices[None, :, 0], vertices[None, :, 1])[0, 0]
    return np.unpackbits(rows.astype(">u8").view(np.uint8)).reshape(64, 64)


def inside(vertices: np.ndarray, x: int, y: int) -> bool:
    """Even-odd rule by exact products: does the ray to the left of (x, y) cross the outline an odd number of times?"""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(vertices.tolist(), np.roll(vertices, -1, axis=0).tolist(), strict=True):
        if y0 < y <= y1:
            crossings += (x - x0) * (y1 - y0) >= (y - y0) * (x1 - x0)
        elif y1 < y <= y0:
            crossings += (x - x0) * (y0 - y1) >= (y - y0) * (x0 - x1)
    return crossings % 2 == 1


@pytest.mark.parametrize("seed", range(5))
def test_fill_is_the_even_odd_rule_at_every_centre(seed):
    vertices = np.random.default_rng(seed).integers(0, 64 * 256, (7, 2))  # crosses itself as often as not
    image = drawn(vertices)
    expected = [[inside(vertices, 256 * c + 128, 256 * r + 128) for c in range(64)] for r in range(64)]
    assert np.array_equal(image, expected)


def test_centres_on_left_and_bottom_edges_are_on_and_on_right_and_top_edges_off():
    low, high = 10 * 256 + 128, 20 * 256 + 128  # the centres of pixels 10 and 20
    image = drawn(np.array([[low, low], [high, low], [high, high], [low, high]]))
    expected = np.zeros((64, 64))
    expected[11:21, 10:20] = 1  # rows go down, so the bottom edge is the one with the larger y
    assert np.array_equal(image, expected)


def test_direction_and_start_of_the_outline_do_not_matter():
    vertices = np.random.default_rng(0).integers(0, 64 * 256, (9, 2))
    assert np.array_equal(drawn(vertices), drawn(vertices[::-1]))
    assert np.array_equal(drawn(vertices), drawn(np.roll(vertices, 4, axis=0)))


def test_whole_pixels_of_shift_move_the_image():
    vertices = np.random.default_rng(1).integers(10 * 256, 40 * 256, (6, 2))
    x = vertices[:, 0] + 256 * np.arange(8)[:, None]  # (8, V)
    y = vertices[:, 1] + 256 * np.arange(5)[:, None]
    rows = polygon.fill(x, y)
    images = np.unpackbits(rows.astype(">u8").view(np.uint8)).reshape(8, 5, 64, 64)
    for i, j in np.ndindex(8, 5):
        assert np.array_equal(images[i, j], np.roll(images[0, 0], (j, i), axis=(0, 1)))


def test_outline_beyond_the_frame_is_cut_at_it():
    assert drawn(np.array([[-999, 128 * 64], [99999, 128 * 64], [99999, 256 * 64], [-999, 256 * 64]])).sum() == 64 * 32
