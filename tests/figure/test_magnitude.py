import numpy as np
import pytest

from disvae.figure.magnitude import MOST, magnitude
from disvae.pictures.figure_data import NotDrawable


@pytest.mark.parametrize(
    ("prior", "std"), [("gaussian", 1.0), ("laplace", 2**0.5), ("sparse", (0.2 + 0.8 * 0.0025) ** 0.5)]
)
def test_cells_are_mean_magnitudes_in_standard_deviations_of_the_prior(encoded, prior, std):
    labels = np.arange(200) % 2
    signs = np.where(np.arange(200) % 4 < 2, 1, -1)
    codes = np.stack([signs * (labels == 0) * 2.0, signs * (labels == 1) * 0.5], 1)
    vae, view = encoded(codes, {"still": np.zeros(200, int), "kind": labels}, f"prior={prior}")
    figure = magnitude(vae, view)
    image = figure.axes[0].images[0]
    expected = np.array([[2, 0], [0, 0.5]])[:, view.latents.order] / std
    np.testing.assert_allclose(image.get_array(), expected, rtol=1e-4)
    assert image.get_clim() == (0, MOST)
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["kind 0", "kind 1"]
    assert "1.0 of 2 latents carry half" in figure.get_suptitle()


def test_latents_of_wide_codes_are_cut_off_and_without_numbers(encoded):
    codes = np.random.default_rng(0).normal(size=(60, 30))
    vae, view = encoded(codes, {"kind": np.arange(60) % 3})
    axes = magnitude(vae, view, most=20).axes[0]
    assert axes.images[0].get_array().shape == (3, 20)
    assert not axes.texts
    assert [label.get_text() for label in axes.get_xticklabels()] == [f"z{d}" for d in view.latents.order[:20]]


def test_codes_without_classes_have_no_picture(encoded):
    for factors in (None, {"still": np.zeros(40, int)}):
        with pytest.raises(NotDrawable, match="must have factors or labels"):
            magnitude(*encoded(np.ones((40, 2)), factors))


def test_classes_have_their_names(encoded):
    label = np.arange(100) % 2
    codes = np.random.default_rng(0).normal(size=(100, 3))
    vae, view = encoded(codes, {"class": label}, class_names={"class": ("coat", "bag")})
    shown = [text.get_text() for text in magnitude(vae, view).axes[0].get_yticklabels()]
    assert shown == ["class coat", "class bag"]
