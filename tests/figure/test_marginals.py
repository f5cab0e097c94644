import numpy as np
import pytest

from disvae.figure.marginals import marginals

PRIORS = ("gaussian", "laplace", "student_t", "sparse", "mixture")


def some(N=300, D=3):
    return np.random.default_rng(0).normal(size=(N, D)) * [1.0, 0.5, 0.0][:D]


def test_densities_integrate_to_one_and_lie_where_codes_and_prior_do(encoded):
    vae, view = encoded(some())
    panels = marginals(vae, view).axes
    assert [axes.get_title().split()[0] for axes in panels] == [f"z{d}" for d in view.latents.order]
    for axes, std in zip(panels, (1.0, 0.5, 0.1), strict=True):
        prior, _ = axes.lines
        z = prior.get_xdata()
        filled = axes.collections[0].get_paths()[0].vertices
        upper = {x: y for x, y in filled if y > 1e-9}
        q = np.array([upper.get(x, 0) for x in z])
        step = z[1] - z[0]
        assert prior.get_ydata().sum() * step == pytest.approx(1, abs=0.01)
        assert q.sum() * step == pytest.approx(1, abs=0.02)
        assert np.sqrt((q * z**2).sum() * step) == pytest.approx(np.hypot(std, 0.1) if std > 0.1 else 0.1, rel=0.1)


def test_encodings_that_are_narrower_than_a_pixel_are_each_counted_once(encoded):
    codes = np.linspace(-1, 1, 7)[:, None] ** 3 * [1.0, 0.7]
    for axes in marginals(*encoded(codes, std=0.005)).axes:
        z = axes.lines[0].get_xdata()
        upper = {x: y for x, y in axes.collections[0].get_paths()[0].vertices if y > 1e-9}
        assert sum(upper.get(x, 0) for x in z) * (z[1] - z[0]) == pytest.approx(1, abs=0.02)


def test_the_bar_is_as_wide_as_an_encoding(encoded):
    figure = marginals(*encoded(some(), std=0.25))
    for axes in figure.axes:
        left, right = axes.lines[1].get_xdata()
        assert right - left == pytest.approx(0.5)
        assert axes.texts[0].get_text() == "±0.25"
    assert "2 of 3 latents are active, their encodings ±0.25 wide" in figure.get_suptitle()


@pytest.mark.parametrize("prior", PRIORS)
def test_limits_are_the_priors_alone(encoded, prior):
    narrow, wide = (marginals(*encoded(scale * some(), None, f"prior={prior}")) for scale in (1, 3))
    for one, other in zip(narrow.axes, wide.axes, strict=True):
        assert one.get_xlim() == other.get_xlim()
        assert one.get_ylim() == other.get_ylim()
        assert one.get_ylim()[1] > one.lines[0].get_ydata().max()


def test_a_spike_is_drawn_to_its_top_on_a_logarithmic_axis(encoded):
    figure = marginals(*encoded(some(), None, "prior=sparse"))
    axes = figure.axes[0]
    assert axes.get_yscale() == "log"
    assert "logarithmic" in figure.get_supylabel()
    density = axes.lines[0].get_ydata()
    assert density.max() == pytest.approx(0.8 / (0.05 * np.sqrt(2 * np.pi)) + 0.2 / np.sqrt(2 * np.pi), rel=1e-3)
    assert axes.get_ylim()[0] < 0.2 / np.sqrt(2 * np.pi) * np.exp(-2)  # of the slab at two of its standard deviations
    assert marginals(*encoded(some())).axes[0].get_yscale() == "linear"


def test_a_covariance_has_marginals_too(encoded):
    assert len(marginals(*encoded(some(), None, "posterior=full_gaussian")).axes) == 3
