from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.collections import EllipseCollection
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from torch.distributions import (
    Dirichlet,
    Independent,
    MultivariateNormal,
    Normal,
    TanhTransform,
    TransformedDistribution,
)

from disvae.build import make_vae
from disvae.config import resolved
from disvae.figure.aggregate_posterior import aggregate_posterior, draw_plane
from disvae.figure.scatter import scatter
from disvae.pictures.figure_data import NotDrawable


def test_the_plane_shows_the_density_of_q_with_the_first_latent_to_the_right(composed):
    vae = make_vae(resolved(composed("dataset=clusters")), (1, 1, 2)).eval()
    vae.model.encoder.forward = lambda x: torch.tensor([[1.0, 0.0, -3.0, -3.0]]).expand(len(x), 4)
    axes = Figure().add_subplot()
    draw_plane(axes, vae, torch.zeros(3, 1, 1, 2), extent=2.0, points=81)
    (image,) = axes.images
    shown = torch.as_tensor(image.get_array())
    row, column = divmod(int(shown.argmax()), 81)
    assert (row, column) == (40, 60)  # z = (1, 0): the middle row, three quarters to the right
    assert shown.sum() * (4 / 80) ** 2 == pytest.approx(1, abs=1e-2)  # a density: it integrates to one
    assert axes.collections, "the prior's contours"


def test_more_than_two_latents_have_no_plane(composed):
    vae = make_vae(resolved(composed("dataset=clusters", "z_dim=3")), (1, 1, 2))
    with pytest.raises(ValueError, match="z_dim must be 2"):
        draw_plane(Figure().add_subplot(), vae, torch.zeros(3, 1, 1, 2))


def points(figure):
    """Centres of the ellipses (n, 2)."""
    (ellipses,) = (part for part in figure.axes[0].collections if isinstance(part, EllipseCollection))
    return ellipses, np.asarray(ellipses.get_offsets())


@pytest.mark.parametrize("posterior", ["gaussian", "full_gaussian", "laplace", "student_t"])
@pytest.mark.parametrize("prior", ["gaussian", "laplace", "student_t", "sparse", "mixture"])
def test_every_prior_and_posterior_has_a_picture_with_the_priors_limits(encoded, prior, posterior):
    codes = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 0.1, 0.5]
    settings = (None, f"prior={prior}", f"posterior={posterior}")
    one, other = (aggregate_posterior(*encoded(scale * codes, *settings)) for scale in (1, 1.5))
    assert one.axes[0].get_xlim() == other.axes[0].get_xlim()
    assert one.axes[0].get_ylim() == other.axes[0].get_ylim()
    assert "nats in this plane" in one.get_suptitle()
    labels = [text.get_text() for text in one.legends[0].get_texts()]
    assert sum("q(z), all" in label for label in labels) == 4
    assert sum("p(z), prior" in label for label in labels) == 2


def test_the_plane_is_that_of_the_two_most_informative_latents(encoded):
    codes = np.random.default_rng(0).normal(size=(60, 3)) * [0.3, 0.0, 2.0]
    vae, view = encoded(codes)
    figure = aggregate_posterior(vae, view, encodings=12)
    assert figure.axes[0].get_xlabel().startswith("z2")
    assert figure.axes[0].get_ylabel().startswith("z0")
    ellipses, centres = points(figure)
    np.testing.assert_allclose(centres, view.codes[view.sample(12)][:, [2, 0]])
    assert ellipses.get_widths() == pytest.approx([0.2] * 12)
    assert ellipses.get_heights() == pytest.approx([0.2] * 12)


def test_two_latents_have_the_order_that_they_have_in_the_scatter(encoded):
    codes = np.random.default_rng(0).normal(size=(60, 2)) * [0.1, 1.0]
    drawn = (draw(*encoded(codes)).axes[0] for draw in (aggregate_posterior, scatter))
    assert [(axes.get_xlabel()[:2], axes.get_ylabel()[:2]) for axes in drawn] == [("z1", "z0")] * 2


def test_ellipses_lean_as_the_posteriors_covariance_does(encoded):
    vae, view = encoded(np.zeros((20, 2)), None, "posterior=full_gaussian")
    covariance = torch.tensor([[2.0, 1.0], [1.0, 2.0]])  # axes sqrt 3 along 45 degrees, 1 across
    view.encoding.posterior.forward = lambda h: MultivariateNormal(
        torch.zeros(len(h), 2), covariance.expand(len(h), 2, 2)
    )
    ellipses, _ = points(aggregate_posterior(vae, view))
    long = ellipses.get_heights()[0]
    assert long == pytest.approx(2 * 3**0.5, rel=1e-5)
    assert ellipses.get_widths()[0] == pytest.approx(2, rel=1e-5)
    assert (ellipses.get_angles()[0] + 90) % 180 == pytest.approx(45, abs=1e-3)  # of the height


def test_codes_like_the_prior_have_no_divergence_and_codes_at_one_place_have_the_closed_form(encoded):
    collapsed = aggregate_posterior(*encoded(np.zeros((50, 2)), std=1.0))
    assert "KL(q‖p) is 0.00 nats" in collapsed.get_suptitle()
    assert "1.00 times as wide" in collapsed.get_suptitle()
    assert "off the picture" not in collapsed.get_suptitle()
    moved = aggregate_posterior(*encoded(np.tile([1.0, -1.0], (50, 1)), std=0.5))
    expected = 2 * (np.log(2) + (0.25 + 1) / 2 - 0.5)
    assert f"KL(q‖p) is {expected:.2f} nats" in moved.get_suptitle()


@pytest.mark.parametrize("posterior", ["gaussian", "full_gaussian"])
def test_the_divergence_of_encodings_narrower_than_a_pixel_is_right(encoded, posterior):
    codes = np.linspace(-1, 1, 9)[:, None] ** 3 * [1.0, 0.7]
    said = aggregate_posterior(*encoded(codes, None, f"posterior={posterior}", std=0.015)).get_suptitle()
    apart = -np.log(9) - 2 * np.log(0.015) - 1 + ((codes**2).sum(1).mean() + 2 * 0.015**2) / 2  # but for the middle
    found = float(said.split("KL(q‖p) is ")[1].split()[0])
    assert found == pytest.approx(apart, abs=0.25)


def test_what_lies_outside_is_said(encoded):
    codes = np.random.default_rng(0).normal(size=(400, 2))
    codes[:100, 0] += 7
    assert "25 % of q(z) is off the picture" in aggregate_posterior(*encoded(codes)).get_suptitle()


def test_bands_and_lines_hold_the_shares_that_they_name(encoded):
    figure = aggregate_posterior(*encoded(np.zeros((50, 2)), std=1.0))
    bands, lines = (part for part in figure.axes[0].collections if isinstance(part, ContourSet))
    radii = {share: np.sqrt(-2 * np.log(1 - share)) for share in (0.25, 0.5, 0.75, 0.95)}  # of a standard normal
    drawn = [np.linalg.norm(path.vertices, axis=1).max() for path in lines.get_paths()]
    assert sorted(drawn) == pytest.approx([radii[0.5], radii[0.95]], rel=0.03)
    drawn = [np.linalg.norm(path.vertices, axis=1).max() for path in bands.get_paths()]
    assert drawn == pytest.approx([radii[0.95], radii[0.75], radii[0.5], radii[0.25]], rel=0.03)


def test_one_latent_has_no_plane(encoded):
    with pytest.raises(NotDrawable, match="z_dim must be at least 2, got 1"):
        aggregate_posterior(*encoded(np.zeros((50, 1))))


def test_a_prior_without_a_variance_is_drawn_and_one_without_known_densities_is_named(encoded):
    vae, view = encoded(np.random.default_rng(0).normal(size=(30, 2)))
    latents = TransformedDistribution(
        Normal(torch.zeros(2), 1.0, validate_args=False), [TanhTransform()], validate_args=False
    )
    bounded = replace(view, encoding=replace(view.encoding, prior=Independent(latents, 1, validate_args=False)))
    assert "times as wide as the prior" in aggregate_posterior(vae, bounded).get_suptitle()
    dirichlet = replace(view, encoding=replace(view.encoding, prior=Dirichlet(torch.ones(2), validate_args=False)))
    with pytest.raises(NotDrawable, match=r"densities in a plane are not known: .* got Dirichlet"):
        aggregate_posterior(vae, dirichlet)
