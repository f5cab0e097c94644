import io

import numpy as np
import pytest
from matplotlib.colors import to_hex

from disvae.figure.scatter import scatter
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.style import COLOURS, DATA

CODES = np.random.default_rng(0).normal(size=(300, 5)) * [0.5, 2.0, 1.0, 0.0, 0.7]


def seen(figure):
    return [axes for axes in figure.axes if axes.get_visible() and axes.collections]


def test_a_panel_for_each_two_of_the_most_informative_latents_within_the_priors_limits(encoded):
    vae, view = encoded(CODES)
    panels = seen(scatter(vae, view))
    assert view.latents.order == [1, 2, 4, 0, 3]
    assert len(panels) == 6
    first = panels[0]
    np.testing.assert_allclose(first.collections[0].get_offsets(), view.codes[view.sample(2000)][:, [1, 2]])
    assert to_hex(first.collections[0].get_facecolors()[0]).upper() == DATA
    low, high = first.get_xlim()
    assert (low, high) == pytest.approx((-3.6, 3.6), abs=0.01)
    assert panels[-1].get_xlabel().startswith("z4")
    assert len(seen(scatter(vae, view, most=3))) == 3


def test_inactive_latents_are_left_out_unless_there_is_no_other(encoded):
    assert len(seen(scatter(*encoded(CODES[:, 2:])))) == 1
    assert len(seen(scatter(*encoded(CODES[:, 2:4])))) == 1


def test_points_have_the_colours_of_their_class(encoded):
    label = np.arange(300) % 8
    vae, view = encoded(CODES + label[:, None], {"label": label})
    figure = scatter(vae, view)
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "label"
    assert [text.get_text() for text in legend.get_texts()] == [str(k) for k in range(8)]
    groups = seen(figure)[0].collections
    assert len(groups) == 8
    offsets = view.codes[label == 7][:, view.latents.order[:2]]
    assert {tuple(point) for point in np.asarray(groups[7].get_offsets()).round(4)} == {
        tuple(p) for p in offsets.astype(float).round(4)
    }
    assert [to_hex(group.get_facecolors()[0]).upper() for group in groups[:6]] == list(COLOURS)
    assert len(groups[0].get_paths()[0].vertices) != len(groups[6].get_paths()[0].vertices)  # one colour, two marks


def test_of_several_factors_the_one_that_is_known_best_gives_the_colours(encoded):
    rng = np.random.default_rng(1)
    factors = {"noise": rng.integers(0, 4, 300), "posX": np.digitize(CODES[:, 1], np.linspace(-4, 4, 19))}
    figure = scatter(*encoded(CODES, factors))
    assert "coloured by posX" in figure.get_suptitle()
    assert figure.axes[-1].get_ylabel() == "value of posX"  # too many for a legend


def test_one_latent_has_no_pairs(encoded):
    with pytest.raises(NotDrawable, match="z_dim must be at least 2"):
        scatter(*encoded(CODES[:, :1]))


def test_classes_have_their_names_whatever_these_are(encoded):
    label = np.arange(300) % 3
    names = {"label": ("_sneaker", "$\\frac{bag$", "a name of more characters than fit")}
    vae, view = encoded(CODES + label[:, None], {"label": label}, class_names=names)
    figure = scatter(vae, view)
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == ["_sneaker", "\\$\\frac{bag\\$", "a name of more characte…"]
    figure.savefig(io.BytesIO())  # a formula that is none would raise here


def test_a_share_that_can_be_chance_is_not_said(encoded):
    label = np.arange(300) % 8
    assert "one of these latents knows" in scatter(*encoded(CODES + label[:, None], {"label": label})).get_suptitle()
    few = scatter(*encoded(CODES[:14], {"label": label[:14] % 2}))
    assert few.get_suptitle() == "Posterior means of 14 images, coloured by label"


def test_what_is_followed_gives_the_colours_before_what_seems_known_or_does_not_vary(encoded):
    """Of 100 images a factor with 40 values is known by chance."""
    rng = np.random.default_rng(2)
    label = np.arange(100) % 3
    factors = {"still": np.zeros(100, np.int64), "many": rng.integers(0, 40, 100), "label": label}
    noise = 0.3 * rng.normal(size=(100, 2))
    assert "coloured by label" in scatter(*encoded(label[:, None] + noise, factors)).get_suptitle()
    few = {"still": np.zeros(14, np.int64), "label": label[:14] % 2}
    assert "coloured by label" in scatter(*encoded(rng.normal(size=(14, 2)), few)).get_suptitle()
