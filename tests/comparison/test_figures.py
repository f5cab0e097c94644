import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from disvae.comparison import figures
from disvae.comparison.groups import compare
from tests.comparison.rows import MIG, SAP, runs


def one(rows):
    (comparison,) = compare(rows)
    return comparison


def along(comparison, tag=MIG):
    axis = figures.main_axis(comparison)
    return figures.against(comparison, tag, axis, figures.lines(comparison, axis)).axes[0]


def line(axes, label):
    """The line of that label; the only joined one where it has none."""
    (found,) = [each for each in axes.lines if (each.get_label() == label if label else each.get_marker() == "o")]
    return found


def test_means_over_seeds_are_joined_along_beta_with_each_seed_a_point():
    axes = along(one(runs()))
    drawn = line(axes, "")
    np.testing.assert_allclose(drawn.get_xdata(), [1, 2, 4])
    np.testing.assert_allclose(drawn.get_ydata(), [0.11, 0.21, 0.41])
    seeds = [each for each in axes.lines if each.get_marker() == "."]
    np.testing.assert_allclose(seeds[0].get_ydata(), [0.1, 0.11, 0.12])
    assert axes.get_xlabel() == "beta"
    assert axes.get_ylabel() == "score"
    assert axes.get_title(loc="left") == "mig/histogram ↑"


def test_the_band_is_the_interval_of_the_mean():
    axes = along(one(runs()))
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    at_1 = corners[np.isclose(corners[:, 0], 1), 1]
    half = 4.302653 * 0.01 / 3**0.5  # Student's t with two degrees of freedom
    assert at_1.min() == pytest.approx(0.11 - half)
    assert at_1.max() == pytest.approx(0.11 + half)


def test_two_seeds_have_points_and_no_band():
    axes = along(one(runs(seeds=2)))
    assert not [v for band in axes.collections for path in band.get_paths() for v in path.vertices]
    assert len([each for each in axes.lines if each.get_marker() == "."]) == 3


def test_controls_and_chance_are_levels_with_names():
    axes = along(one(runs()))
    levels = {float(each.get_ydata()[0]) for each in axes.lines if list(each.get_xdata()) == [0, 1]}
    assert levels == {0.05, 0.001}
    assert {text.get_text() for text in axes.texts} == {"pca", "chance"}
    assert axes.get_ylim()[0] < 0.001


def test_names_of_close_levels_do_not_cover_one_another():
    rows = runs()
    for row in rows:
        row.controls[MIG] = {"pca": 0.05, "ica": 0.0501, "rotation": 0.0502, "untrained": 0.049}
    axes = along(one(rows))
    low, high = axes.get_ylim()
    places = sorted(text.get_position()[1] for text in axes.texts)
    assert np.diff(places).min() > 0.05 * (high - low)
    assert low < places[0]
    assert places[-1] < high


@pytest.mark.parametrize(
    ("values", "scale"),
    [((1.0, 2.0, 4.0, 8.0), "log"), ((0.0, 1.0, 10.0, 100.0), "symlog"), ((1.0, 2.0, 3.0, 4.0, 5.0, 6.0), "linear")],
)
def test_values_spread_geometrically_have_a_logarithmic_axis(values, scale):
    axes = along(one(runs(beta=values)))
    assert axes.get_xscale() == scale
    assert [tick.get_text() for tick in axes.get_xticklabels()] == [f"{value:g}" for value in values]


def test_a_line_for_each_value_of_the_other_settings():
    comparison = one(runs(objective=("beta_tc", "beta_vae"), beta=(1.0, 4.0)))
    found = figures.lines(comparison, "beta")
    assert [each.label for each in found] == ["objective=beta_tc", "objective=beta_vae"]
    axes = along(comparison)
    assert line(axes, "objective=beta_tc").get_color() != line(axes, "objective=beta_vae").get_color()
    legend = figures.key(found).legends[0]
    assert [text.get_text() for text in legend.get_texts()] == ["objective=beta_tc", "objective=beta_vae"]


def test_a_group_without_the_setting_is_a_level():
    rows = runs(objective=("beta_vae",)) + runs(objective=("beta_vae",), beta=(1.0, 4.0))
    rows = [row for row in rows if "beta" in row.settings]
    (plain,) = runs(seeds=1, objective=("vae",))
    axes = along(one([*rows, plain]))
    dashed = [each for each in axes.lines if each.get_linestyle() == "--"]
    assert [each.get_ydata()[0] for each in dashed] == [plain.metrics[MIG]]


def test_more_lines_than_colours_go_to_pages_by_the_first_setting():
    comparison = one(runs(seeds=1, objective=("a", "b"), beta=(1.0, 2.0), alpha=(0.0, 1.0, 2.0, 3.0, 4.0)))
    found = figures.lines(comparison, "beta")
    assert [len(page) for page in figures.pages(found)] == [5, 5]
    assert [each.label for each in figures.coarse(found)] == ["objective=a", "objective=b"]
    assert sum(len(each.groups) for each in figures.coarse(found)) == len(comparison.groups)
    many = one(runs(seeds=1, z_dim=tuple(range(1, 40)), beta=(1.0, 2.0)))
    sets = figures.pages(figures.lines(many, "beta"))
    assert max(map(len, sets)) <= figures.MOST_LINES
    assert sum(map(len, sets)) == 39


def test_heat_maps_have_a_cell_for_each_pair_and_one_scale_for_a_score():
    comparison = one(runs(objective=("a", "b"), beta=(1.0, 4.0), alpha=(0.0, 1.0, 2.0)))
    of = figures.maps(comparison)
    assert (of.x, of.y, [facet.label for facet in of.facets]) == ("beta", "alpha", ["objective=a", "objective=b"])
    ends = figures.colour_ends(comparison, MIG)
    drawn = [figures.heat_map(comparison, MIG, of, facet, ends) for facet in of.facets]
    for figure in drawn:
        axes = figure.axes[0]
        np.testing.assert_allclose(axes.images[0].get_array(), [[0.11, 0.41], [0.21, 0.51], [0.31, 0.61]])
        assert (axes.images[0].norm.vmin, axes.images[0].norm.vmax) == pytest.approx((0.11, 0.61))
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("beta", "alpha")
        assert axes.images[0].origin == "lower"  # alpha grows upwards
        assert {(*text.get_position(), text.get_text()) for text in axes.texts} >= {(0, 2, "0.31"), (1, 0, "0.41")}
        assert {text.get_text() for text in axes.texts} == {"0.11", "0.21", "0.31", "0.41", "0.51", "0.61"}


def test_a_heat_map_says_how_many_seeds_where_cells_differ_and_leaves_missing_ones_empty():
    rows = runs(beta=(1.0, 4.0), alpha=(0.0, 1.0))
    rows = [r for r in rows if r.settings["beta"] == 1 or r.settings["alpha"] == 0][:-1]
    comparison = one(rows)
    of = figures.maps(comparison)
    axes = figures.heat_map(comparison, MIG, of, of.facets[0]).axes[0]
    assert {text.get_text().partition("\n")[2] for text in axes.texts} == {"n=3", "n=2"}
    assert np.isnan(np.ma.filled(axes.images[0].get_array(), np.nan)).sum() == 1


def test_a_lower_score_is_brighter_where_lower_is_better():
    comparison = one(runs(beta=(1.0, 4.0), alpha=(0.0, 1.0)))
    of = figures.maps(comparison)
    of_score, of_error = (
        figures.heat_map(comparison, tag, of, of.facets[0]).axes[0].images[0] for tag in (MIG, "val/reconstruction")
    )
    assert sum(of_score.cmap(1.0)[:3]) > sum(of_score.cmap(0.0)[:3])
    assert sum(of_error.cmap(1.0)[:3]) < sum(of_error.cmap(0.0)[:3])


def test_settings_that_are_not_crossed_have_no_map():
    assert figures.maps(one(runs(beta=(1.0, 4.0)))) is None
    assert figures.maps(one(runs(objective=("a",), alpha=(0.0, 1.0)) + runs(objective=("b",), beta=(1.0, 2.0)))) is None
    assert figures.maps(one(runs(beta=(1.0, 4.0), alpha=(0.0,)) + runs(beta=(1.0,), alpha=(1.0,)))) is not None


def test_the_front_goes_through_the_groups_that_nothing_beats():
    comparison = one(runs())
    chosen = figures.lines(comparison, "beta")
    axes = figures.front(comparison, "val/reconstruction", MIG, chosen, "beta").axes[0]
    np.testing.assert_allclose(line(axes, "Pareto front").get_xdata(), [101, 102, 104])
    assert line(axes, "Pareto front").get_drawstyle() == "steps-post"  # between two groups only the left one is had
    axes = figures.front(comparison, "val/reconstruction", SAP, chosen, "beta").axes[0]
    np.testing.assert_allclose(line(axes, "Pareto front").get_xdata(), [101])
    assert axes.get_xlabel() == "reconstruction ↓ (nats per image)"
    assert (axes.get_ylabel(), axes.get_title(loc="left")) == ("score", "sap/linear ↑")
    assert [text.get_text() for text in axes.texts] == ["1", "2", "4"]
    assert figures.front(one(runs(beta=(1.0,))), "val/reconstruction", MIG, [], None) is None


def test_lines_of_equal_elbo_have_rate_and_distortion_that_sum_to_it():
    comparison = one(runs())
    axes = figures.rate_distortion(comparison, figures.lines(comparison, "beta"), "beta").axes[0]
    equal = [each for each in axes.lines if each.get_label() == "equal ELBO"]
    assert len(equal) > 2
    said = {text.get_text() for text in axes.texts}
    for each in equal:
        total = np.add(each.get_xdata(), each.get_ydata())
        assert total[0] == pytest.approx(total[1])
    assert any(f"{-(each.get_xdata()[0] + each.get_ydata()[0]):g}" in said for each in equal)
    np.testing.assert_allclose(line(axes, "").get_xdata(), [10, 20 / 3, 4])
    np.testing.assert_allclose(line(axes, "").get_ydata(), [101, 102, 104])


def test_overlap_is_drawn_against_structure_in_nats():
    comparison = one(runs())
    drawn = figures.overlap_structure(comparison, "val/structure/kl_qz_pz", figures.lines(comparison, "beta"), "beta")
    axes = drawn.axes[0]
    np.testing.assert_allclose(line(axes, "").get_xdata(), [7.9, 7.8, 7.6])
    np.testing.assert_allclose(line(axes, "").get_ydata(), [2, 2, 2])
    assert "nats" in axes.get_xlabel()
    assert axes.get_ylabel() == "KL(q(z) ‖ p(z)) (nats)"


def test_without_terms_there_is_no_figure_of_them():
    rows = runs()
    for row in rows:
        for tag in [tag for tag in row.metrics if tag.startswith("val/")]:
            del row.metrics[tag]
    comparison = one(rows)
    chosen = figures.lines(comparison, "beta")
    assert figures.rate_distortion(comparison, chosen, "beta") is None
    assert figures.overlap_structure(comparison, "val/structure/kl_qz_pz", chosen, "beta") is None
    assert figures.front(comparison, "val/reconstruction", MIG, chosen, "beta") is None


def test_without_a_number_that_varies_groups_are_ranked():
    comparison = one(runs(objective=("b", "a")))
    assert figures.main_axis(comparison) is None
    axes = figures.ranking(comparison, MIG).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [each.group.name for each in comparison.rank(MIG)]


def test_scores_of_several_datasets_have_one_scale():
    both = compare(runs() + runs(dataset="dsprites", beta=(10.0, 20.0)))
    low, high = figures.limits(both, MIG)
    assert low < 0.001
    assert high > 2
    assert figures.limits(both, "metric/none/none") is None


@pytest.mark.parametrize(
    ("tag", "unit"),
    [
        (MIG, ""),
        ("metric/jemmig/jemmig", "nats"),
        ("metric/jemmig/normalised", ""),
        ("val/elbo", "nats per image"),
        ("val/structure/kl_qz_pz", "nats"),
        ("val/structure/mmd", ""),
    ],
)
def test_units(tag, unit):
    assert figures.unit(tag) == unit


def test_values_that_are_not_finite_are_left_out():
    rows = runs()
    rows[0].metrics["val/kl"] = float("nan")
    comparison = one(rows)
    axes = figures.rate_distortion(comparison, figures.lines(comparison, "beta"), "beta").axes[0]
    np.testing.assert_allclose(line(axes, "").get_xdata(), [10, 20 / 3, 4])
    assert np.isfinite(axes.get_xlim()).all()


def test_a_band_at_most_doubles_an_axis():
    narrow = runs(beta=(1.0,))
    low, high = figures.limits(compare(narrow), "val/structure/total_correlation")  # 1.5 ± 2.48
    assert (low, high) == pytest.approx((0.5 - 1 - 0.24, 2.5 + 1 + 0.24))
    for row in narrow:
        row.metrics["val/kl"] = 10 + 0.1 * row.settings["seed"]
        row.controls["val/kl"] = {"chance": 5.0}
    low, high = figures.limits(compare(narrow), "val/kl")  # there is room for this one: 10.1 + 4.303 * 0.1 / sqrt(3)
    top = 10.1 + 4.302653 * 0.1 / 3**0.5
    assert (low, high) == pytest.approx((5 - 0.06 * (top - 5), top + 0.06 * (top - 5)))


def test_a_long_title_stays_in_its_panel():
    tag, rows = "metric-held_out-sample-seed17/aggregate_posterior/mutual_information", runs()
    for row in rows:
        row.metrics[tag] = 1.0
    comparison = one(rows)
    figure = figures.against(comparison, tag, "beta", figures.lines(comparison, "beta"))
    title = figure.axes[0].get_title(loc="left")
    (drawn,) = (text for text in figure.findobj(Text) if text.get_text() == title)
    assert drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer()).x1 < figure.bbox.x1
