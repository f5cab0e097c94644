import numpy as np
import pytest
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from disvae.figure.mutual_information import mutual_information
from disvae.metric.mig import MIG
from disvae.pictures.style import INACTIVE


@pytest.fixture
def known(encoded):
    """z0 nothing, z1 the shape and a little of posX, z2 posX, z3 hardly varies."""
    rng = np.random.default_rng(0)
    factors = {"shape": rng.integers(0, 3, 600), "posX": rng.integers(0, 10, 600)}
    noise = rng.normal(size=(600, 4))
    codes = np.stack([noise[:, 0], factors["shape"] + 0.05 * factors["posX"], factors["posX"], 0.001 * noise[:, 3]], 1)
    return (*encoded(codes / [1, 1, 4, 1] + 0.05 * noise * [1, 1, 1, 0], factors), codes)


def test_cells_are_shares_of_factors_and_the_title_is_the_metric(known):
    vae, view, _ = known
    figure = mutual_information(vae, view)
    axes = figure.axes[0]
    factors = view.encoding.factors
    scores = MIG(bins=20)(view.codes, factors, names=view.encoding.factor_names)
    assert f"(MIG) {scores['histogram']:.3f}" in figure.get_suptitle()
    names = [label.get_text() for label in axes.get_xticklabels()]
    assert names == [
        f"{name}\ngap {scores[f'histogram/{name}']:.2f}\nchance {19 * (values - 1) / 1200 / np.log(values):.2f}"
        for name, values in (("shape", 3), ("posX", 10))
    ]
    shown = np.asarray(axes.images[0].get_array())
    assert shown.shape == (4, 2)
    assert axes.images[0].get_clim() == (0, 1)
    assert [text.get_text() for text in axes.texts] == [f"{share:.2f}" for share in shown.ravel()]


def test_the_best_latent_of_a_factor_is_framed_and_the_second_with_a_broken_line(known):
    vae, view, _ = known
    axes = mutual_information(vae, view).axes[0]
    rows = [label.get_text().split()[0] for label in axes.get_yticklabels()]
    shown = np.asarray(axes.images[0].get_array())
    frames = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    place = {(round(f.get_x() + 0.47), round(f.get_y() + 0.45)): f.get_linestyle() for f in frames}
    for k, best in enumerate(("z1", "z2")):
        assert place[k, rows.index(best)] == "-"
        second = int(np.argsort(shown[:, k])[-2])
        assert place[k, second] != "-"
    assert len(place) == 4


def test_latents_that_are_best_are_shown_whatever_their_kl_and_inactive_ones_are_grey(known):
    vae, view, _ = known
    labels = mutual_information(vae, view, most=1).axes[0].get_yticklabels()
    assert {"z1", "z2"} <= {label.get_text().split()[0] for label in labels}
    last = mutual_information(vae, view).axes[0].get_yticklabels()[-1]
    assert (last.get_text().split()[0], last.get_color()) == ("z3", INACTIVE)


def test_one_factor_has_no_gap_and_one_latent_no_second(encoded):
    labels = np.random.default_rng(0).integers(0, 4, 2000)
    figure = mutual_information(*encoded(labels[:, None].astype(float), {"label": labels}))
    assert figure.axes[0].get_xticklabels()[0].get_text() == "label"
    assert figure.get_suptitle() == "What each latent knows of label"


def test_few_images_are_said_to_give_high_shares_by_chance(encoded):
    """14 images of two classes: Miller's mean is 19 / 28 nats of at most ln 2."""
    label = np.arange(14) % 2
    axes = mutual_information(*encoded(np.random.default_rng(0).normal(size=(14, 3)), {"label": label})).axes[0]
    assert axes.get_xticklabels()[0].get_text() == f"label\nchance {19 / 28 / np.log(2):.2f}"
    assert "chance: a latent that knows nothing" in axes.get_xlabel()


def test_all_text_is_on_the_picture_however_few_the_latents_and_factors(encoded):
    codes = np.random.default_rng(0).normal(size=(100, 2))
    figure = mutual_information(*encoded(codes, {"class": (codes[:, 0] > 0).astype(np.int64)}))
    figure.draw_without_rendering()
    for text in figure.findobj(Text):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= figure.bbox.x1, text
            assert box.y1 <= figure.bbox.y1, text
