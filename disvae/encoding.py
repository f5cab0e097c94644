"""A fixed, seeded set of images passed through the encoder once: what every metric reads."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.distributions import Distribution

from disvae.dataset import Images
from disvae.vae import VAE


@dataclass(frozen=True)
class Encoding:
    """N images as codes; None where codes come from a file that does not say."""

    codes: np.ndarray  # (N, D) float32: the mean of each q(z|x)
    factors: np.ndarray  # (N, K) class indices; K = 0 where nothing is known of the images
    factor_names: tuple[str, ...]
    population: int  # images these N were drawn from without replacement: N itself where they are all
    samples: np.ndarray | None = None  # (N, D) float32: a draw of each q(z|x)
    h: Tensor | None = None  # (N, ...): the encoder's outputs, on the device to compute on
    posterior: Callable[[Tensor], Distribution] | None = None  # rows of h -> q(z|x), batch (B,), event (D,)
    prior: Distribution | None = None  # p(z), batch (), event (D,)
    vae: VAE | None = None
    images: Images | None = None  # of the whole dataset
    rows: np.ndarray | None = None  # (N,): these N of `images`
