from dataclasses import replace

import numpy as np
import pytest
import torch

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.traversal import traversal
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.run_figures import view_of
from disvae.pictures.style import INACTIVE

PRIORS = ("gaussian", "anisotropic", "laplace", "student_t", "sparse", "mixture")


def knowing(vae, scales, offsets=(0.0, 0.0, 0.0, 0.0)):
    """Give the encoder latents whose means follow an image's first pixel, 0 to 1, by `scales` about `offsets`."""
    D = len(scales)

    def encoder(x):
        values = 2 * x.flatten(1)[:, :1] - 1
        return torch.cat([values * torch.tensor(scales) + torch.tensor(offsets), torch.full((len(x), D), -3.0)], 1)

    vae.model.encoder.forward = encoder
    return vae


def some(n):
    """Images whose first pixels go from 0 to 1."""
    x = torch.rand(n, 1, 16, 16)
    x[:, 0, 0, 0] = torch.linspace(0, 1, n)
    return x


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_has_a_picture(small_vae, view_of_images, prior):
    vae = knowing(small_vae(f"prior={prior}"), [1.0, 0.0, 3.0, 2.0])
    figure = traversal(vae, view_of_images(vae, some(50)))
    left, right = figure.axes
    names = [label.get_text() for label in right.get_yticklabels()]
    assert [name.split()[0] for name in names][-1] == "z1"  # the only latent that does not vary
    assert all(name.endswith("nats") for name in names)
    assert right.images[0].get_array().shape == (4 * 16, 9 * 16)
    assert [label.get_text() for label in left.get_yticklabels()] == ["image", "decoded"]


def test_latents_are_sorted_by_kl_and_the_inactive_ones_grey_and_last(small_vae, view_of_images):
    vae = knowing(small_vae(), [0.01, 1.0, 3.0, 0.0])
    figure = traversal(vae, view_of_images(vae, some(50)))
    right = figure.axes[1]
    labels = right.get_yticklabels()
    assert [label.get_text().split()[0] for label in labels] == ["z2", "z1", "z0", "z3"]
    assert [label.get_color() for label in labels[2:]] == [INACTIVE, INACTIVE]
    assert INACTIVE not in [label.get_color() for label in labels[:2]]
    assert "2 of 4 are active, 2 of the others in grey\n" in figure.get_suptitle()


def test_a_row_changes_its_own_latent_alone(small_vae, view_of_images):
    vae = small_vae("prior=anisotropic", "prior.variances=[1,1,1,4]", "prior.mean_variance=1.75")
    vae = knowing(vae, [1.0, 0.0, 0.0, 3.0])  # the prior's standard deviation of z3 is 2
    vae.model.decoder.forward = lambda z: z[:, 3].view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    figure = traversal(vae, view_of_images(vae, some(51)), image=0)
    shown = np.asarray(figure.axes[1].images[0].get_array()).reshape(-1, 16, 9, 16)[:, 0, :, 0]
    np.testing.assert_allclose(shown[0], torch.linspace(-4, 4, 9).sigmoid(), atol=1e-4)  # z3 has the first row
    np.testing.assert_allclose(shown[1], torch.tensor(-3.0).sigmoid().expand(9), atol=1e-4)  # z3 of the first image


def test_only_so_many_latents_are_shown(small_vae, view_of_images):
    vae = knowing(small_vae(), [1.0, 2.0, 3.0, 4.0])
    figure = traversal(vae, view_of_images(vae, some(50)), most=3)
    assert [label.get_text().split()[0] for label in figure.axes[1].get_yticklabels()] == ["z3", "z2", "z1"]
    assert "4 of 4 are active, 3 of them shown" in figure.get_suptitle()


@pytest.mark.parametrize(("at", "column"), [(2.0, 0), (0.4, 3), (-0.9, 6)])
def test_the_column_next_to_the_images_own_code_is_framed(small_vae, view_of_images, at, column):
    vae = knowing(small_vae(), [at, 0.0, 0.0, 0.0])  # the first of the two images is at -at, the other at at
    patches = traversal(vae, view_of_images(vae, some(2)), image=0).axes[1].patches
    (frame,) = (patch for patch in patches if not patch.get_fill())  # the others make rows grey
    assert frame.get_xy() == (16 * column - 0.5, -0.5)


def test_a_cauchy_posterior_is_drawn_too(small_vae, view_of_images):
    vae = small_vae("posterior=student_t", "posterior.df=1")
    figure = traversal(vae, view_of_images(vae, some(20)))
    assert np.isfinite(np.asarray(figure.axes[1].images[0].get_array())).all()


def test_the_random_state_outside_stays(small_vae, view_of_images):
    vae = small_vae("prior=student_t")
    view = view_of_images(vae, some(20))
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    traversal(vae, view)
    assert torch.rand(1) == expected


def test_the_chosen_image_is_the_fixed_one(small_vae, view_of_images):
    vae = small_vae()
    x = some(20)
    left = traversal(vae, view_of_images(vae, x), image=7).axes[0]
    np.testing.assert_allclose(np.asarray(left.images[0].get_array())[:16], x[7, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="image must be a number from 0 to 19, got 20"):
        traversal(vae, view_of_images(vae, x), image=20)


@pytest.mark.parametrize("shape", [(40, 1, 1, 2), (10, 2, 16, 16)])
def test_what_is_no_picture_is_refused(composed, view_of_images, shape):
    config = resolved(composed("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=2"))
    vae = make_vae(config, shape[1:])
    with pytest.raises(NotDrawable, match="must be pictures"):
        traversal(vae, view_of_images(vae, torch.rand(shape)))


def test_rows_are_named_by_the_factor_that_owns_the_latent(small_vae, view_of_images, composed, tmp_path):
    vae = knowing(small_vae(), [1.0, 2.0, 3.0, 4.0])
    encoding = replace(view_of_images(vae, some(50)).encoding, factor_names=("shape", "posX", "posY"))
    config = resolved(composed("objective=dc_ign", "z_dim=4"))
    labels = traversal(vae, view_of(encoding, config, tmp_path)).axes[1].get_yticklabels()
    assert [label.get_text().split("  ")[0] for label in labels] == ["z3 shape", "z2 shape", "z1 posY", "z0 posX"]
