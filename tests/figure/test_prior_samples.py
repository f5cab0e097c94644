import numpy as np
import pytest
import torch

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.prior_samples import prior_samples

PRIORS = ("gaussian", "anisotropic", "laplace", "student_t", "sparse", "mixture")


def a_vae(composed, *overrides):
    torch.manual_seed(0)
    typed = ["prior.variances=equal"] if overrides == ("prior=anisotropic",) else []
    small = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=4")
    return make_vae(resolved(composed(*small, *overrides, *typed)), (1, 16, 16)).eval()


def squares(figure, side):
    return [
        np.asarray(axes.images[0].get_array()).reshape(side, 16, side, 16).transpose(0, 2, 1, 3)
        for axes in figure.axes
    ]  # fmt: skip


@pytest.mark.parametrize("prior", PRIORS)
def test_the_codes_are_draws_of_the_prior(composed, view_of_images, prior):
    vae = a_vae(composed, f"prior={prior}")
    vae.model.decoder.forward = lambda z: z[:, 1].view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    model, _ = squares(prior_samples(vae, view_of_images(vae, torch.rand(50, 1, 16, 16)), side=20), 20)
    found = np.sort(model[:, :, 0, 0].reshape(-1))  # sigmoid(z1) of 400 draws
    expected = np.sort(torch.sigmoid(vae.prior().sample((20000,))[:, 1]).numpy())
    assert np.abs(found - np.quantile(expected, (np.arange(400) + 0.5) / 400)).max() < 0.12


def test_the_data_are_beside_them(composed, view_of_images):
    vae, x = a_vae(composed), torch.rand(50, 1, 16, 16)
    view = view_of_images(vae, x)
    _, data = squares(prior_samples(vae, view, side=3), 3)
    np.testing.assert_allclose(data.reshape(9, 16, 16), x[view.sample(9), 0], rtol=1e-6)
    assert [axes.get_title().split(":")[0] for axes in prior_samples(vae, view).axes] == ["model", "data"]


def test_where_data_are_few_their_square_is_not_full(composed, view_of_images):
    vae = a_vae(composed)
    figure = prior_samples(vae, view_of_images(vae, torch.zeros(5, 1, 16, 16)), side=3)
    _, data = squares(figure, 3)
    assert data.reshape(9, -1).mean(1).tolist() == [0] * 5 + [1] * 4
    assert figure.get_suptitle().endswith("9 samples, 5 images")


def test_the_random_state_outside_stays(composed, view_of_images):
    vae = a_vae(composed)
    view = view_of_images(vae, torch.rand(9, 1, 16, 16))
    before = torch.random.get_rng_state()
    prior_samples(vae, view)
    assert torch.equal(before, torch.random.get_rng_state())
