import numpy as np
import pytest

from disvae.figure.response import FAINT, response
from disvae.pictures.figure_data import NotDrawable
from disvae.pictures.style import DATA


@pytest.fixture
def answered(encoded):
    """z0 follows size and is moved by nothing else; z1 varies for itself; z2 does not vary."""
    rng = np.random.default_rng(0)
    size, side = rng.integers(0, 5, 1000), rng.integers(2, 4, 1000)
    codes = np.stack([0.5 * size - 1, rng.uniform(-1, 1, 1000), np.zeros(1000)], 1)
    return encoded(codes, {"size": size, "side": side})


def test_a_row_for_each_active_latent_and_a_column_for_each_factor(answered):
    figure = response(*answered)
    panels = np.array(figure.axes).reshape(2, 2)
    assert [axes.get_title() for axes in panels[0]] == ["size", "side"]
    names = [axes.get_ylabel().split()[0] for axes in panels[:, 0]]
    assert sorted(names) == ["z0", "z1"]
    (line,) = panels[names.index("z0"), 0].lines
    np.testing.assert_allclose(line.get_data(), [[0, 1, 2, 3, 4], [-1, -0.5, 0, 0.5, 1]], atol=1e-6)
    assert panels[names.index("z1"), 1].lines[0].get_xdata().tolist() == [2, 3]


def test_strong_pairs_have_the_colour_and_their_share(answered):
    figure = response(*answered)
    panels = np.array(figure.axes).reshape(2, 2)
    names = [axes.get_ylabel().split()[0] for axes in panels[:, 0]]
    colours = [[axes.lines[0].get_color() for axes in row] for row in panels]
    strong = names.index("z0")
    assert colours[strong] == [DATA, FAINT]
    assert colours[1 - strong] == [FAINT, FAINT]
    assert [text.get_text() for text in panels[strong, 0].texts] == ["1.00"]
    assert "1 of 4 pairs that are strong, most z0 and size" in figure.get_suptitle()


def test_the_band_holds_the_middle_four_fifths(answered):
    panels = np.array(response(*answered).axes).reshape(2, 2)
    names = [axes.get_ylabel().split()[0] for axes in panels[:, 0]]
    heights = panels[names.index("z1"), 1].collections[0].get_paths()[0].vertices[:, 1]
    assert np.abs(heights).max() == pytest.approx(0.8, abs=0.06)  # of numbers evenly from -1 to 1
    of_follower = panels[names.index("z0"), 0].collections[0].get_paths()[0].vertices[:, 1]
    assert set(of_follower.round(3)) == {-1, -0.5, 0, 0.5, 1}  # size leaves z0 no room


def test_limits_are_those_of_the_prior(answered, encoded):
    low, high = response(*answered).axes[0].get_ylim()
    assert (low, high) == pytest.approx((-3.6, 3.6), abs=0.01)
    factors = {"a": np.arange(50) % 3}
    wide = encoded(np.random.default_rng(0).normal(size=(50, 1)) * 9, factors)
    assert response(*wide).axes[0].get_ylim() == (low, high)


def test_without_an_active_latent_there_is_no_answer(encoded):
    with pytest.raises(NotDrawable, match="at least one latent must be active"):
        response(*encoded(np.zeros((50, 2)), {"a": np.arange(50) % 3}))


def test_what_can_be_chance_is_not_strong(encoded):
    factors = {"label": np.arange(14) % 2}
    figure = response(*encoded(np.random.default_rng(0).normal(size=(14, 3)), factors))
    assert "blue: the 0 of 3 pairs that are strong" in figure.get_suptitle()
    assert {axes.lines[0].get_color() for axes in figure.axes} == {FAINT}
