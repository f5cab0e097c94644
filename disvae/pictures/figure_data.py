"""The data from which pictures of a run are drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from disvae.encoding import Encoding
from disvae.runs.curves import Curve
from disvae.statistics.latents import Latents, finite_mean, latents, quantiles, seeded
from disvae.vae import VAE

if TYPE_CHECKING:
    from matplotlib.figure import Figure  # a run that draws nothing need not import it

Drawn: TypeAlias = Union["Figure", Iterator["Figure"]]
"""A picture, or the frames of an animation; all frames may be one Figure that is changed in place."""


class NotDrawable(ValueError):
    """The error of a figure that does not suit this model or these data; the message says what the figure needs."""


@dataclass(frozen=True)
class FigureData:
    """The data of a run that a figure may read: a fixed sample of images with their codes, curves and schedules.

    No field of `encoding` is None: posterior, prior, images and rows are present.
    """

    encoding: Encoding
    curves: Callable[[], Mapping[str, Curve]] = dict  # by TensorBoard tag; read from disk when called
    schedules: Mapping[str, Callable[[int], float]] = field(
        default_factory=dict
    )  # of the weights of the objective, by name
    steps: int = 0  # optimiser steps of the whole run
    latent_names: Sequence[str] = ()  # what each latent is for, if the objective says it

    @cached_property
    def qz_x(self) -> Distribution:
        """Return q(z|x) of all N encoded images, batch (N,), event (D,)."""
        encoding = self.encoding
        assert encoding.posterior is not None
        assert encoding.h is not None
        with torch.no_grad():
            return encoding.posterior(encoding.h)

    @property
    def pz(self) -> Distribution:
        """Return the prior p(z), batch (), event (D,)."""
        assert self.encoding.prior is not None
        return self.encoding.prior

    @cached_property
    def codes(self) -> np.ndarray:
        """Return the means (N, D) of q(z|x), float32, or samples of q(z|x) where it has no mean (a Cauchy)."""
        codes, samples = self.encoding.codes, self.encoding.samples
        return codes if samples is None or np.isfinite(codes).all() else samples

    @cached_property
    def latents(self) -> Latents:
        """Return the order of the latents, which is the same in every picture."""
        return replace(latents(self.qz_x, self.pz), names=self.latent_names)

    @cached_property
    def limits(self) -> np.ndarray:
        """Return the ends (D, 2) of each latent's axis. They depend on the prior alone: runs with one prior share axes.

        The axis holds 99.73 % of the prior (three standard deviations of a Gaussian) and a tenth more on each side.
        """
        with seeded():
            low, high = quantiles(self.pz, (0.00135, 0.99865)).double().cpu().numpy()
        margin = (high - low) / 10
        return np.stack([low - margin, high + margin], 1)

    def check_densities(self) -> None:
        """Raise NotDrawable if the run was trained without an ELBO, so that q(z) is not compared with p(z)."""
        if self.encoding.vae is not None and self.encoding.vae.without_elbo:
            raise NotDrawable(self.encoding.vae.without_elbo)

    def sample(self, n: int) -> np.ndarray:
        """Return the indices of n encoded images (all, if there are fewer): always the same random choice."""
        order: np.ndarray = np.random.default_rng(0).permutation(len(self.encoding.codes))
        return order[:n]

    def pictures(self, n: int, first: int | None = None) -> Tensor:
        """Return n encoded images (n, C, H, W) on the VAE's device, after image number `first` of the dataset if given.

        Raises:
            NotDrawable: the data are not pictures.
            ValueError: the dataset has no image with the number `first`.
        """
        images, rows = self.encoding.images, self.encoding.rows
        assert images is not None
        assert rows is not None
        if images.x_shape[0] not in (1, 3) or min(images.x_shape[1:]) < 2:
            raise NotDrawable(f"the data must be pictures (C, H, W), 1 or 3 channels, got {images.x_shape}")
        chosen = rows[self.sample(n)]
        if first is not None:
            if not 0 <= first < len(images):
                raise ValueError(f"image must be a number from 0 to {len(images) - 1}, got {first}")
            chosen = np.concatenate([[first], chosen])[:n]
        return images.take(torch.from_numpy(chosen)).to(self.qz_x.mean.device)


@torch.no_grad()
def codes_of(vae: VAE, x: Tensor) -> Tensor:
    """Return the means (n, D) of q(z|x) of images (n, C, H, W), or samples where the posterior has no mean."""
    with seeded():
        return finite_mean(vae.encode(x))
