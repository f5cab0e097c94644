import numpy as np
import pytest
import torch
from torch.distributions import Categorical, Independent, Laplace, MixtureSameFamily, Normal

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.traversal import PROBABILITIES, kl_per_latent, quantiles, traversal

PRIORS = ("gaussian", "anisotropic", "laplace", "student_t", "sparse", "mixture")


def a_vae(composed, *overrides):
    torch.manual_seed(0)
    typed = ["prior.variances=equal"] if overrides == ("prior=anisotropic",) else []
    config = resolved(
        composed("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=4", *overrides, *typed)
    )
    return make_vae(config, (1, 16, 16)).eval()


def knowing(vae, scales, offsets=(0.0, 0.0, 0.0, 0.0)):
    """Give the encoder latents whose means vary over images by `scales` about `offsets`."""
    D = len(scales)

    def encoder(x):
        values = torch.linspace(-1, 1, len(x)) if len(x) > 1 else torch.zeros(1)
        return torch.cat(
            [values[:, None] * torch.tensor(scales) + torch.tensor(offsets), torch.full((len(x), D), -3.0)], 1
        )

    vae.model.encoder.forward = encoder
    return vae


@pytest.mark.parametrize("prior", PRIORS)
def test_columns_are_quantiles_of_the_prior_whatever_it_is(composed, prior):
    pz = a_vae(composed, f"prior={prior}").prior()
    torch.manual_seed(1)
    places = quantiles(pz, PROBABILITIES)
    assert places.shape == (9, 4)
    below = (pz.sample((50_000,))[:, None] <= places).double().mean(0)  # (9, 4): the share of other samples below
    assert (below - torch.tensor(PROBABILITIES)[:, None]).abs().max() < 0.02


def test_a_gaussian_is_walked_in_equal_steps_and_a_laplace_by_its_formula(composed):
    torch.testing.assert_close(
        quantiles(a_vae(composed).prior(), PROBABILITIES)[:, 0], torch.linspace(-2, 2, 9), atol=1e-4, rtol=0
    )
    pz = a_vae(composed, "prior=laplace", "prior.scale=2").prior()
    expected = Laplace(0.0, 2.0).icdf(torch.tensor(PROBABILITIES))
    torch.testing.assert_close(quantiles(pz, PROBABILITIES)[:, 3], expected)


@pytest.mark.parametrize("prior", PRIORS)
def test_every_prior_has_a_picture(composed, prior):
    figure = traversal(knowing(a_vae(composed, f"prior={prior}"), [1.0, 0.0, 3.0, 2.0]), torch.rand(50, 1, 16, 16))
    left, right = figure.axes
    names = [label.get_text() for label in right.get_yticklabels()]
    assert [name.split()[0] for name in names][-1] == "z1"  # the only latent that does not vary
    assert all(name.endswith("nats") for name in names)
    assert right.images[0].get_array().shape == (4 * 16, 9 * 16)
    assert [label.get_text() for label in left.get_yticklabels()] == ["image", "reconstruction"]


def test_latents_are_sorted_by_kl_and_the_inactive_ones_grey_and_last(composed):
    figure = traversal(knowing(a_vae(composed), [0.01, 1.0, 3.0, 0.0]), torch.rand(50, 1, 16, 16), title="a run")
    right = figure.axes[1]
    labels = right.get_yticklabels()
    assert [label.get_text().split()[0] for label in labels] == ["z2", "z1", "z0", "z3"]
    assert [label.get_color() for label in labels[2:]] == ["0.5", "0.5"]
    assert "0.5" not in [label.get_color() for label in labels[:2]]
    assert figure.get_suptitle() == "a run\n2 of 4 latents are active, 2 of them shown, 2 of the others in grey"


def test_a_latent_far_from_the_prior_that_does_not_vary_is_last_all_the_same(composed):
    vae = knowing(a_vae(composed), [1.0, 0.0, 3.0, 2.0], offsets=[0.0, 9.0, 0.0, 0.0])
    labels = [label.get_text() for label in traversal(vae, torch.rand(50, 1, 16, 16)).axes[1].get_yticklabels()]
    assert [label.split()[0] for label in labels] == ["z2", "z3", "z0", "z1"]
    assert float(labels[3].split()[1]) > 40


def test_a_row_changes_its_own_latent_alone(composed):
    vae = a_vae(composed, "prior=anisotropic", "prior.variances=[1,1,1,4]", "prior.mean_variance=1.75")
    vae = knowing(vae, [1.0, 0.0, 0.0, 3.0])  # the prior's standard deviation of z3 is 2
    vae.model.decoder.forward = lambda z: z[:, 3].view(-1, 1, 1, 1).expand(-1, 1, 16, 16)
    x = torch.rand(51, 1, 16, 16)
    shown = np.asarray(traversal(vae, x).axes[1].images[0].get_array()).reshape(-1, 16, 9, 16)[:, 0, :, 0]
    np.testing.assert_allclose(shown[0], torch.linspace(-4, 4, 9).sigmoid(), atol=1e-4)  # z3 has the first row
    np.testing.assert_allclose(shown[1], torch.tensor(-3.0).sigmoid().expand(9), atol=1e-4)  # z3 of the first image


def test_only_so_many_latents_are_shown(composed):
    vae = knowing(a_vae(composed), [1.0, 2.0, 3.0, 4.0])
    figure = traversal(vae, torch.rand(50, 1, 16, 16), most=3)
    assert [label.get_text().split()[0] for label in figure.axes[1].get_yticklabels()] == ["z3", "z2", "z1"]
    assert "4 of 4 latents are active, 3 of them shown" in figure.get_suptitle()


def test_the_kl_of_a_latent_is_the_closed_form_also_under_a_full_covariance(composed):
    vae = a_vae(composed, "posterior=full_gaussian")
    with torch.no_grad():
        qz_x = vae.encode(torch.rand(30, 1, 16, 16))
        found = kl_per_latent(qz_x, vae.prior())
    spread = qz_x.covariance_matrix.diagonal(dim1=1, dim2=2).sqrt()
    expected = torch.distributions.kl_divergence(Normal(qz_x.mean, spread), Normal(0.0, 1.0)).mean(0)
    torch.testing.assert_close(found, expected)


def test_the_kl_of_a_latent_to_a_mixture_is_to_its_marginal():
    loc, scale = torch.tensor([[-2.0, 1.0], [1.0, 4.0], [0.0, 0.0]]), torch.tensor([[0.5, 2.0], [1.0, 0.2], [3.0, 1.0]])
    weights = Categorical(probs=torch.tensor([0.2, 0.5, 0.3]))
    pz = MixtureSameFamily(weights, Independent(Normal(loc, scale), 1))
    n = 200_000
    qz_x = Independent(Normal(torch.tensor([0.5, 3.0]).expand(n, 2), torch.tensor([0.7, 0.3]).expand(n, 2)), 1)
    torch.manual_seed(0)
    found = kl_per_latent(qz_x, pz)
    z = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    for d, (mean, deviation) in enumerate(((0.5, 0.7), (3.0, 0.3))):
        q = Normal(mean, deviation).log_prob(z)
        p = MixtureSameFamily(weights, Normal(loc[:, d], scale[:, d])).log_prob(z)
        assert float(found[d]) == pytest.approx(float(torch.trapezoid(q.exp() * (q - p), z)), abs=0.02)


@pytest.mark.parametrize(("at", "column"), [(2.0, 0), (0.4, 3), (-0.9, 6)])
def test_the_column_next_to_the_images_own_code_is_framed(composed, at, column):
    vae = knowing(a_vae(composed), [at, 0.0, 0.0, 0.0])  # the first of the two images is at -at, the other at at
    patches = traversal(vae, torch.rand(2, 1, 16, 16)).axes[1].patches
    (frame,) = (patch for patch in patches if not patch.get_fill())  # the others make rows grey
    assert frame.get_xy() == (16 * column - 0.5, -0.5)


def test_a_cauchy_posterior_is_drawn_too(composed):
    vae = a_vae(composed, "posterior=student_t", "posterior.df=1")
    figure = traversal(vae, torch.rand(20, 1, 16, 16))
    assert np.isfinite(np.asarray(figure.axes[1].images[0].get_array())).all()


def test_the_random_state_outside_stays(composed):
    vae, x = a_vae(composed, "prior=student_t"), torch.rand(20, 1, 16, 16)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    traversal(vae, x)
    assert torch.rand(1) == expected


@pytest.mark.parametrize("shape", [(400, 1, 1, 2), (1, 1, 16, 16), (10, 2, 16, 16)])
def test_what_is_no_picture_is_refused(composed, shape):
    with pytest.raises(ValueError, match="at least two pictures"):
        traversal(a_vae(composed), torch.rand(shape))
