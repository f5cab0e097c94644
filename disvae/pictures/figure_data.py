"""What pictures of a run are drawn from."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
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
    from matplotlib.figure import Figure  # a run that draws nothing does without

Drawn: TypeAlias = Union["Figure", Iterator["Figure"]]
"""A picture, or the frames of an animation; a frame may be the one before, changed."""


class NotDrawable(ValueError):
    """This picture is not for this model or these data, and nothing is wrong with either; says what is needed."""


@dataclass(frozen=True)
class FigureData:
    """What a picture may show of a run beside its VAE: a fixed sample of images with their codes, curves, schedules.

    All of `encoding` is there: posterior, prior, images and rows.
    """

    encoding: Encoding
    curves: Callable[[], Mapping[str, Curve]] = dict  # by tag, as TensorBoard shows them; read when asked for
    schedules: Mapping[str, Callable[[int], float]] = field(default_factory=dict)  # of the objective's weights
    steps: int = 0  # of the whole run

    @cached_property
    def qz_x(self) -> Distribution:
        """q(z|x) of all N encoded images, batch (N,), event (D,)."""
        encoding = self.encoding
        assert encoding.posterior is not None
        assert encoding.h is not None
        with torch.no_grad():
            return encoding.posterior(encoding.h)

    @property
    def pz(self) -> Distribution:
        """p(z), batch (), event (D,)."""
        assert self.encoding.prior is not None
        return self.encoding.prior

    @cached_property
    def codes(self) -> np.ndarray:
        """The means (N, D) of q(z|x), float32; a sample of it where it has none (a Cauchy)."""
        codes, samples = self.encoding.codes, self.encoding.samples
        return codes if samples is None or np.isfinite(codes).all() else samples

    @cached_property
    def latents(self) -> Latents:
        """Their order, the same in every picture."""
        return latents(self.qz_x, self.pz)

    @cached_property
    def limits(self) -> np.ndarray:
        """What each latent is drawn between (D, 2): by its prior alone, so that runs that share one share axes.

        Where the prior has all but 0.27 %, three standard deviations of a Gaussian, and a tenth more each side.
        """
        with seeded():
            low, high = quantiles(self.pz, (0.00135, 0.99865)).double().cpu().numpy()
        margin = (high - low) / 10
        return np.stack([low - margin, high + margin], 1)

    def sample(self, n: int) -> np.ndarray:
        """Which n of the encoded images to show (fewer where there are fewer), always the same, in no order."""
        order: np.ndarray = np.random.default_rng(0).permutation(len(self.encoding.codes))
        return order[:n]

    def pictures(self, n: int, first: int | None = None) -> Tensor:
        """n of the encoded images (n, C, H, W) on the VAE's device; `first`: one of the dataset's comes before them.

        Raises:
            NotDrawable: the data are no pictures.
            ValueError: the dataset has no image of the number `first`.
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
    """The means (n, D) of q(z|x) of images (n, C, H, W), a sample where a posterior has none."""
    with seeded():
        return finite_mean(vae.encode(x))
