"""Contents of the page: the decoder, latents with their ranges, real images with their codes, codes of the prior."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disvae.config import ConfigError
from disvae.evaluation.run_encodings import built_of
from disvae.explorer.export import layers, text
from disvae.explorer.naming import names
from disvae.pictures.figure_data import FigureData, NotDrawable
from disvae.pictures.html import render
from disvae.pictures.run_figures import view_of_run
from disvae.runs.folder import Run
from disvae.runs.settings import flat_settings
from disvae.statistics.latents import quantiles, seeded
from disvae.vae import VAE

STARTING_IMAGES = 12
"""Number of real images to start from."""

PRIOR_CODES = 200
"""Number of codes drawn from the prior."""

PROBABILITIES = (0.005, 0.5, 0.995)
"""Quantiles of the prior at the left end, the median and the right end of a slider."""


def page_of(run: Run, path: str | None = None) -> str:
    """Return the page of a trained run, made from its last weights and its validation sample.

    `path` is the place of the run's data, if they have moved.

    Raises:
        ConfigError: the run has no checkpoint, its data are not images, or the page cannot compute its decoder.
    """
    vae, view, step = view_of_run(run, built=None if path is None else built_of(run, path))
    return page(vae, view, name=run.path.name, about=_about(run.config(), step))


def page(vae: VAE, view: FigureData, *, name: str, about: str) -> str:
    """Return the page of a VAE; `name` and `about` describe it in words.

    Raises:
        ConfigError: the data are not images, the codes are not finite, or the page cannot compute the decoder.
    """
    try:
        found = contents(vae, view)
    except NotDrawable as error:
        raise ConfigError(f"no page to explore: {error}") from error
    return render("explorer/page.html.jinja", content=found | {"name": name, "about": about})


@torch.no_grad()
def contents(vae: VAE, view: FigureData) -> dict[str, Any]:
    """Return the data that page.html.jinja embeds as JSON.

    Raises:
        NotDrawable: the data are not images.
        ConfigError: the codes are not finite, or the page cannot compute the decoder.
    """
    x = view.pictures(STARTING_IMAGES)
    shown = view.sample(STARTING_IMAGES)
    with seeded():
        samples = view.pz.sample((PRIOR_CODES,))
        places = quantiles(view.pz, PROBABILITIES).tolist()
    if not np.isfinite(view.codes).all() or not np.isfinite(places).all():
        raise ConfigError("no page to explore: codes are not finite, since the run has diverged")
    return {
        "shape": list(x.shape[1:]),
        "layers": layers(vae, x.shape[1:]),
        "latents": _latents(view, places),
        "images": [
            {"pixels": _pixels(picture), "code": text(view.codes[row]), "label": _label(view, row)}
            for picture, row in zip(x, shown, strict=True)
        ],
        "samples": [text(code) for code in samples],
    }


def _latents(view: FigureData, places: list[list[float]]) -> list[dict[str, Any]]:
    """Return the latents in the order of all pictures: range, KL and factor of each."""
    order = view.latents
    called = names(view)
    found = []
    for d in order.order:
        low, median, high = (place[d] for place in places)
        name = called[d] if order.active[d] else None
        found.append(
            {
                "d": d,
                "low": low,
                "median": median,
                "high": high,
                "active": order.active[d],
                "kl": None if order.kl is None else max(order.kl[d], 0),
                "factor": None if name is None else name[0],
                "share": None if name is None else name[1],
            }
        )
    return found


def _pixels(picture: Tensor) -> str:
    """Return an image (C, H, W) in [0, 1] as bytes (H, W, C) in base64."""
    levels = (picture.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    return base64.b64encode(levels.tobytes()).decode()


def _label(view: FigureData, row: int) -> str:
    encoding = view.encoding
    assert encoding.rows is not None
    factors = [
        f"{name} {encoding.class_name(k, value)}"
        for k, (name, value) in enumerate(zip(encoding.factor_names, encoding.factors[row], strict=True))
    ]
    return ", ".join([f"image {encoding.rows[row]}", *factors])


def _about(config: Mapping[str, Any], step: int) -> str:
    """Return the run in a few words: `sprites, beta_vae, beta 4, model conv, 10,000 steps`."""
    kind = {key: config[key]["_target_"].split(".")[-2] for key in ("dataset", "objective", "model")}
    settings = flat_settings(config)  # runs made with schedule.beta.value=4 may hold no beta of their own
    weight = [f"beta {settings['beta']:g}"] if "beta" in settings else []
    return ", ".join([kind["dataset"], kind["objective"], *weight, f"model {kind['model']}", f"{step:,} steps"])
