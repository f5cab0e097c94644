import numpy as np
import pytest

from disvae.figure.kl_per_dimension import kl_per_dimension
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.style import COLOURS, INACTIVE
from disvae.runs.curves import Curve

STEPS = np.array([100, 200, 300])


def a_run(encoded, *last):
    codes = np.random.default_rng(0).normal(size=(100, len(last))) * np.sqrt(np.array(last))
    kl = {
        f"val/kl_per_dimension/{d:02d}": Curve(STEPS, value * np.array([0.5, 0.8, 1.0])) for d, value in enumerate(last)
    }
    return encoded(codes, curves=lambda: {"val/kl": Curve(STEPS, STEPS * 1.0), **kl})


def test_a_line_for_each_latent_in_colour_where_it_is_active(encoded):
    figure = kl_per_dimension(*a_run(encoded, 1.0, 0.0, 3.0))
    (axes,) = figure.axes
    assert [line.get_ydata()[-1] for line in axes.lines] == [3, 1, 0]  # in the order of all pictures
    assert [line.get_color() for line in axes.lines] == [COLOURS[0], COLOURS[1], INACTIVE]
    assert axes.get_title() == "2 of 3 latents are active; their total KL is 4.0 nats at the end"
    assert "nats" in axes.get_ylabel()
    assert axes.get_xlabel() == "optimiser step"
    assert axes.get_xlim() == (0, 300)
    assert axes.get_ylim() == (0, 4)


def test_lines_are_named_at_their_ends(encoded):
    (axes,) = kl_per_dimension(*a_run(encoded, 1.0, 0.0, 3.0)).axes
    assert {text.get_text() for text in axes.texts} == {"z0  1.00", "z2  3.00", "1 inactive"}


def test_names_do_not_overlap_and_keep_the_order_of_their_lines(encoded):
    (axes,) = kl_per_dimension(*a_run(encoded, 2.0, 2.01, 2.02, 2.03, 2.04, 2.05)).axes
    named = sorted((text.xyann[1], text.get_text()) for text in axes.texts if text.get_text())
    heights = [height for height, _ in named]
    assert np.diff(heights).min() > 0.199
    assert [text[:2] for _, text in named] == ["z0", "z1", "z2", "z3", "z4", "z5"]
    assert np.mean(heights) == pytest.approx(2.025)


def test_of_many_latents_the_first_twelve_are_named(encoded):
    (axes,) = kl_per_dimension(*a_run(encoded, *np.linspace(1, 3, 20))).axes
    texts = [text.get_text() for text in axes.texts]
    assert len(texts) == 13
    assert texts[-1] == "8 more active"


def test_a_run_without_validations_has_no_picture(encoded):
    with pytest.raises(NotDrawable, match="must have a validation"):
        kl_per_dimension(*encoded(np.zeros((10, 2)), curves=lambda: {"val/kl": Curve(STEPS, STEPS * 1.0)}))
