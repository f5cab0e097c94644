import numpy as np
import pytest
import torch

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.interpolation import interpolation
from disvae.pictures.figure_data import FigureData, NotDrawable


@pytest.fixture
def vae(composed):
    """Whose only latent of use is the logit of an image's brightness, there and back."""
    small = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=2")
    vae = make_vae(resolved(composed(*small)), (1, 16, 16)).eval()

    def encoder(x):
        bright = x.flatten(1).mean(1, keepdim=True).logit()
        return torch.cat([bright, torch.zeros(len(x), 1), torch.full((len(x), 2), -3.0)], 1)

    vae.model.encoder.forward = encoder
    vae.model.decoder.forward = lambda z: z[:, :1, None, None].expand(-1, 1, 16, 16)
    return vae


def plain(n):
    """Images of one brightness each, 0.1 to 0.9."""
    return torch.linspace(0.1, 0.9, n).view(-1, 1, 1, 1).expand(-1, 1, 16, 16)


def brightness(figure, rows, columns):
    shown = np.asarray(figure.axes[0].images[0].get_array()).reshape(rows, 16, columns, 16)
    return shown.mean((1, 3))


def test_a_row_goes_along_the_straight_line_of_codes_between_its_two_images(vae, view_of_images):
    figure = interpolation(vae, view_of_images(vae, plain(9)), first=0, second=8, pairs=3, steps=5)
    found = brightness(figure, 3, 7)
    np.testing.assert_allclose(found[:, 0], found[:, 1], rtol=1e-4)  # the image is its own mean here
    np.testing.assert_allclose(found[:, 6], found[:, 5], rtol=1e-4)
    logits = torch.linspace(float(torch.tensor(0.1).logit()), float(torch.tensor(0.9).logit()), 5)
    np.testing.assert_allclose(found[0, 1:6], logits.sigmoid(), rtol=1e-4)


def test_the_other_pairs_are_of_the_fixed_sample_and_the_real_images_framed(vae, view_of_images):
    view, x = view_of_images(vae, plain(9)), plain(9)
    axes = interpolation(vae, view, first=0, pairs=4, steps=3).axes[0]
    found = np.asarray(axes.images[0].get_array()).reshape(4, 16, 5, 16).mean((1, 3))
    of_sample = x[view.sample(8)].mean((1, 2, 3))
    np.testing.assert_allclose(found[1:, 0], of_sample[2::2], rtol=1e-5)
    np.testing.assert_allclose(found[:, 4], of_sample[1::2], rtol=1e-5)
    assert found[0, 0] == pytest.approx(0.1)
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == ["image", "0", "50", "100", "image"]
    framed = sorted({patch.get_xy()[0] for patch in axes.patches})
    assert framed == [-0.5, 4 * 16 - 0.5]
    assert len(axes.patches) == 8


def test_pairs_are_as_many_as_there_are_images_for(vae, view_of_images):
    assert interpolation(vae, view_of_images(vae, plain(5))).axes[0].images[0].get_array().shape == (2 * 16, 11 * 16)
    alone = FigureData(view_of_images(vae, plain(5)).encoding.take(np.array([0])))
    with pytest.raises(NotDrawable, match="must hold 2 images, got 1"):
        interpolation(vae, alone)


def test_an_image_that_is_not_there_is_refused(vae, view_of_images):
    with pytest.raises(ValueError, match="image must be a number from 0 to 8, got 9"):
        interpolation(vae, view_of_images(vae, plain(9)), second=9)
