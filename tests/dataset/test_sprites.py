"""The drawn grid is dSprites, but for a pixel in one image of several thousand."""

from pathlib import Path

import numpy as np
import pytest
import torch

from disvae.dataset.sprites import Sprites, outline

SUBSET = Path("dsprites-subset") / "dsprites_grid_1x3x6x10x16x16.npz"


def pixels(sprites: Sprites) -> np.ndarray:
    """(N, 64, 64) uint8."""
    return np.unpackbits(sprites.images.data.numpy(), axis=1).reshape(-1, 64, 64)


@pytest.fixture(scope="module")
def small():
    return Sprites(scales=2, orientations=4, positions=4)


@pytest.fixture(scope="module")
def quarter():
    return Sprites(orientations=10, positions=16)


def test_real_images_are_equal_in_every_pixel_for_nearly_all_of_each_shape(quarter, data_dir):
    with np.load(data_dir / SUBSET) as real:
        assert np.array_equal(quarter.factors, real["latents_classes"][:, 1:])
        different = (pixels(quarter) != real["imgs"]).sum(axis=(1, 2))
    assert len(different) == 46_080
    assert different.max() <= 1
    for shape in range(3):
        assert (different[quarter.factors[:, 0] == shape] == 0).mean() >= 0.9998


def test_smaller_grid_is_part_of_the_larger(quarter):
    taken = np.isin(quarter.factors[:, 1], (0, 3)) & (quarter.factors[:, 3:] % 4 == 0).all(axis=1)
    smaller = Sprites(scales=2, orientations=10, positions=4)
    assert np.array_equal(pixels(quarter)[taken], pixels(smaller))


def test_factors_are_the_grid_with_the_last_fastest(small):
    assert small.factor_names == ("shape", "scale", "orientation", "posX", "posY")
    assert small.factor_sizes == (3, 2, 4, 4, 4)
    assert np.array_equal(np.ravel_multi_index(tuple(small.factors.T), small.factor_sizes), np.arange(384))
    assert len(small.images) == 384
    assert small.x_shape == (1, 64, 64)
    assert small.held_out is None


def test_position_moves_the_centre_of_mass_right_and_down(small):
    image = pixels(small)
    rows, columns = ((image.sum(axis=axis) * (np.arange(64) + 0.5)).sum(axis=1) for axis in (2, 1))
    mass = image.sum(axis=(1, 2))
    square = small.factors[:, 0] == 0  # its centre is the centre of its mass
    for at, k in ((columns, 3), (rows, 4)):
        centre = 16 + 32 * 8 * small.factors[:, k] / 31  # every eighth of 32 positions
        assert np.abs(at / mass - centre)[square].max() < 0.5


def test_scale_multiplies_the_area(small):
    area = pixels(small).sum(axis=(1, 2)).reshape(small.factor_sizes).mean(axis=(2, 3, 4))
    x, y = outline(2).T
    exact = [19.2**2, np.pi * 9.6**2, abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2]
    for scale, factor in ((0.5, 0), (0.8, 1)):  # 0.8 is the fourth of six
        assert area[:, factor] == pytest.approx(scale**2 * np.array(exact), rel=0.02)


def test_orientation_turns_counter_clockwise_on_screen():
    sprites = Sprites(scales=2, orientations=4, positions=1)
    hearts = pixels(sprites)[(sprites.factors == [2, 1, 0])[:, :2].all(axis=1)]
    turned = []
    for image in hearts:
        right_up = np.argwhere(image)[:, ::-1] * [1, -1]
        away = right_up - right_up.mean(axis=0)
        turned.append(np.arctan2(*away[np.linalg.norm(away, axis=1).argmax()][::-1]))  # where the point is
    assert turned[0] == pytest.approx(-np.pi / 2, abs=0.1)
    assert np.allclose(np.unwrap(turned) - turned[0], 2 * np.pi * 10 * np.arange(4) / 39, atol=0.2)


def test_factor_with_one_value_is_left_out():
    sprites = Sprites(shapes=1, scales=1, orientations=2, positions=2)
    assert sprites.factor_names == ("orientation", "posX", "posY")
    assert sprites.factors.shape == (8, 3)


def test_second_construction_reads_what_the_first_drew(small, monkeypatch):
    monkeypatch.setattr("disvae.data.polygon.fill", None)
    again = Sprites(scales=2, orientations=4, positions=4)
    assert torch.equal(again.images.data, small.images.data)
    assert again.checksum == small.checksum
    assert again.checksum.startswith("sha256:")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"shapes": 4}, "shapes must be 1 .square., 2 .and ellipse. or 3 .and heart., got 4"),
        ({"scales": 5}, "scales must be one of 1, 2, 3, 6, got 5"),
        ({"orientations": 3}, "orientations must be one of 1, 2, 4, 5, 8, 10, 20, 40, got 3"),
        ({"positions": 0}, "positions must be one of 1, 2, 4, 8, 16, 32, got 0"),
    ],
)
def test_sizes_that_are_no_sub_grid_are_refused_with_those_that_are(sizes, said):
    with pytest.raises(ValueError, match=said):
        Sprites(**sizes)


def test_full_grid_has_the_white_pixels_of_the_official_file():
    sprites = Sprites()
    assert len(sprites.images) == 737_280
    white = np.bitwise_count(sprites.images.data.numpy()).sum(dtype=np.int64)
    assert abs(white - 128_328_862) <= 100  # the official count, from the published mean
