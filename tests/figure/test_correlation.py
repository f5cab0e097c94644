import numpy as np
import pytest

from disvae.figure.correlation import correlation
from disvae.pictures.figure_data import NotDrawable


def test_the_matrix_is_that_of_the_codes_and_what_hardly_varies_is_left_out(encoded):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400))
    codes = np.stack([a, 0.001 * a, b + a, -0.5 * b], 1)
    vae, view = encoded(codes)
    figure = correlation(vae, view)
    axes = figure.axes[0]
    order = view.latents.order
    assert order[-1] == 1
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_allclose(shown[:3, :3], np.corrcoef(codes[:, order[:3]].T), atol=1e-5)
    assert np.isnan(shown[3]).all()
    assert axes.images[0].get_clim() == (-1, 1)
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"z{d}" for d in order]
    off = np.abs(np.corrcoef(codes[:, order[:3]].T))[np.triu_indices(3, 1)].mean()
    assert f"{off:.2f} between the 3 active latents of 4" in figure.get_suptitle()
    assert len(axes.texts) == 6


@pytest.mark.parametrize(("D", "words"), [(2, "1 of 2 latents is active"), (3, "1 of 3 latents is active")])
def test_one_active_latent_has_nothing_to_go_with(encoded, D, words):
    codes = np.zeros((50, D))
    codes[:, 0] = np.linspace(-1, 1, 50)
    assert correlation(*encoded(codes)).get_suptitle().startswith(words)


def test_one_latent_has_no_matrix(encoded):
    with pytest.raises(NotDrawable, match="z_dim must be at least 2"):
        correlation(*encoded(np.zeros((50, 1))))
