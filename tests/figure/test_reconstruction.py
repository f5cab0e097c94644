import numpy as np
import pytest
import torch

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.reconstruction import reconstruction

SMALL = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=2")


def a_vae(composed, shape=(1, 16, 16)):
    torch.manual_seed(0)
    return make_vae(resolved(composed(*SMALL)), shape)


@pytest.mark.parametrize("C", [1, 3])
def test_images_their_means_and_the_difference_are_one_above_another(composed, view_of_images, C):
    vae, x = a_vae(composed, (C, 16, 16)), torch.rand(30, C, 16, 16)
    view = view_of_images(vae, x)
    figure = reconstruction(vae, view, images=5)
    above, below = figure.axes[:2]
    colours = (3,) if C == 3 else ()
    shown = np.asarray(above.images[0].get_array()).reshape(2, 16, 5, 16, *colours)
    chosen = x[view.sample(5)]
    means = vae.decode(vae.encode(chosen).mean).mean.detach()
    for row, expected in zip(shown, (chosen, means), strict=True):
        there = expected.permute(2, 0, 3, 1).squeeze(-1).numpy()  # (H, 5, W) and, if there are 3, colours
        np.testing.assert_allclose(row, there, atol=1e-5)
    difference = np.asarray(below.images[0].get_array()).reshape(16, 5, 16)
    np.testing.assert_allclose(difference, (means - chosen).mean(1).permute(1, 0, 2), atol=1e-5)
    assert below.images[0].get_clim() == (-1, 1)  # the same scale in all runs
    assert [label.get_text() for label in above.get_yticklabels()] == ["image", "reconstruction"]
    assert [label.get_text() for label in below.get_yticklabels()] == ["difference"]


def test_the_title_holds_the_mean_squared_difference(composed, view_of_images):
    vae = a_vae(composed)
    vae.model.decoder.forward = lambda z: torch.zeros(len(z), 1, 16, 16)  # a mean of 1/2 everywhere
    figure = reconstruction(vae, view_of_images(vae, torch.ones(10, 1, 16, 16)), images=4)
    assert figure.get_suptitle() == "Reconstructions of 4 images: mean squared difference 0.25 per pixel"
    below = figure.axes[1].images[0].get_array()
    assert (np.asarray(below) == -0.5).all()  # too little, the colour of what is missing


def test_fewer_images_than_asked_for_are_all_shown(composed, view_of_images):
    vae = a_vae(composed)
    figure = reconstruction(vae, view_of_images(vae, torch.rand(3, 1, 16, 16)))
    assert figure.axes[0].images[0].get_array().shape == (2 * 16, 3 * 16)
