"""Every option of conf/figure, on a tiny model of each kind of data."""

from collections.abc import Callable
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from disvae.build import make_vae
from disvae.config import nodes, options, resolved
from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.files import rendered
from disvae.runs.curves import Curve
from disvae.schedule.constant import Constant
from disvae.schedule.linear import Linear
from disvae.system.instantiate import prepared

FIGURES = nodes("figure", {}, options("figure"))

DATA: dict[str, tuple[tuple[int, ...], dict[str, int]]] = {
    "sprites": ((1, 16, 16), {"shape": 3, "scale": 4, "posX": 5}),
    "colour": ((3, 16, 16), {"hue": 5, "size": 3}),
    "labelled": ((1, 28, 28), {"label": 10}),
    "unlabelled": ((1, 16, 16), {}),
    "points": ((1, 1, 2), {"component": 4}),
}
"""(C, H, W), and the factors with their numbers of values."""


@pytest.fixture(params=DATA)
def tiny_view(request, composed, view_of_images) -> tuple[torch.nn.Module, FigureData]:
    """An untrained VAE on 120 images."""
    shape, sizes = DATA[request.param]
    likelihood = "likelihood=gaussian" if request.param == "points" else "likelihood=bernoulli"
    small = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", "z_dim=3")
    torch.manual_seed(0)
    vae = make_vae(resolved(composed(*small, likelihood)), shape)
    rng = np.random.default_rng(0)
    factors = {name: rng.integers(0, size, 120) for name, size in sizes.items()}
    steps = np.array([10, 20, 30])
    kl = {f"val/kl_per_dimension/{d}": Curve(steps, np.array([0.0, 1.0, 2.0]) * d) for d in range(3)}
    more = {"curves": lambda: kl, "schedules": {"beta": Linear(value=4, until=0.5, steps=30)}, "steps": 30}
    return vae, view_of_images(vae, torch.rand(120, *shape), factors, **more)


@pytest.mark.parametrize("label", FIGURES)
def test_it_is_drawn_or_says_why_not(label, tiny_view):
    vae, view = tiny_view
    before = torch.random.get_rng_state()
    try:
        drawn = prepared(FIGURES[label], f"figure.{label}", 2)(vae, view)
    except NotDrawable:
        return
    if isinstance(drawn, Figure):
        assert drawn.axes
        text = [part.get_text() for axes in drawn.axes for part in axes.findobj(matplotlib.text.Text)]
        assert any(text), "name what is seen"
    content, suffix = rendered(drawn)
    assert content.startswith({".png": b"\x89PNG", ".gif": b"GIF8"}[suffix])
    assert torch.equal(before, torch.random.get_rng_state()), "draw samples under disvae.latents.seeded()"


@pytest.mark.parametrize("label", FIGURES)
def test_it_is_the_same_again(label, composed, view_of_images):
    vae = make_vae(resolved(composed("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]")), (1, 16, 16))
    torch.manual_seed(0)
    x = torch.rand(60, 1, 16, 16)
    draw: Callable = prepared(FIGURES[label], f"figure.{label}", 2)
    try:
        first, second = (rendered(draw(vae, view_of_images(vae, x))) for _ in range(2))
    except NotDrawable:
        return
    assert first == second


def test_weights_that_do_not_change_need_no_picture(tiny_view):
    vae, view = tiny_view
    draw = prepared(FIGURES["schedules"], "figure.schedules", 2)
    constant = replace(view, schedules={"beta": Constant(value=4)})
    with pytest.raises(NotDrawable, match="changes during the run"):
        draw(vae, constant)
    both = replace(view, schedules={**constant.schedules, "alpha": view.schedules["beta"]})
    assert [axes.get_ylabel() for axes in draw(vae, both).axes] == ["alpha"]
