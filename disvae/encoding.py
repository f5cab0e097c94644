"""An Encoding is what every metric reads: a fixed, seeded set of images passed through the encoder once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from disvae.dataset import Dataset, Images
from disvae.vae import VAE

ROWS = 1024
"""How many images are encoded at a time."""


@dataclass(frozen=True)
class Encoding:
    """The codes of N images and what is known of them; a field that the codes' source lacks is None."""

    codes: np.ndarray  # (N, D) float32: the mean of each q(z|x)
    factors: np.ndarray  # (N, K) class indices, or values of a continuous factor; K = 0 if no factors are known
    factor_names: tuple[str, ...]
    population: int | None = None  # images of the factor grid that these N were drawn from; None if there is no grid
    samples: np.ndarray | None = None  # (N, D) float32: one sample of each q(z|x)
    h: Tensor | None = None  # (N, ...): the encoder's outputs, on the device that computes
    posterior: Callable[[Tensor], Distribution] | None = None  # rows of h -> q(z|x), batch (B,), event (D,)
    prior: Distribution | None = None  # p(z), batch (), event (D,)
    vae: VAE | None = None
    images: Images | None = None  # the whole dataset
    rows: np.ndarray | None = None  # (N,): where these N images are in `images`
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by factor, for factors that have them

    def class_name(self, k: int, value: int) -> str:
        """Return the name of class `value` of factor k, or its number if the classes have no names."""
        names = self.class_names.get(self.factor_names[k])
        return str(value) if names is None else names[value]

    def take(self, rows: np.ndarray) -> "Encoding":
        """Return the encoding of these rows (n,) only."""
        index = torch.from_numpy(rows)
        return replace(
            self,
            codes=self.codes[rows],
            factors=self.factors[rows],
            samples=None if self.samples is None else self.samples[rows],
            h=None if self.h is None else self.h[index.to(self.h.device)],
            rows=None if self.rows is None else self.rows[rows],
        )


@torch.no_grad()
def encode(vae: VAE, images: Images, rows: Tensor) -> Tensor:
    """Return the encoder's outputs (N, ...) for `rows` (N,) of the images, on the VAE's device."""
    device = next(vae.parameters()).device
    was_training = vae.training
    vae.eval()
    blocks = rows.split(ROWS)
    with tqdm(
        total=len(rows), desc="encoding", unit=" images", leave=False, disable=None if len(blocks) > 50 else True
    ) as bar:
        outputs = []
        for block in blocks:
            outputs.append(vae.outputs(images.take(block).to(device)).float())
            bar.update(len(block))
    vae.train(was_training)
    return torch.cat(outputs)


@torch.no_grad()
def means(posterior: Callable[[Tensor], Distribution], h: Tensor) -> np.ndarray:
    """Return the means (N, D) of q(z|x) as float32."""
    return np.concatenate([posterior(block).mean.float().cpu().numpy() for block in h.split(4096)])


@torch.no_grad()
def samples(posterior: Callable[[Tensor], Distribution], h: Tensor) -> np.ndarray:
    """Draw one sample (N, D) of each q(z|x) as float32, always the same; the global random state is kept."""
    with torch.random.fork_rng([h.device] if h.device.type == "cuda" else []):
        torch.manual_seed(0)
        return np.concatenate([posterior(block).sample().float().cpu().numpy() for block in h.split(4096)])


def encoding_of(vae: VAE, h: Tensor, dataset: Dataset, rows: Tensor) -> Encoding:
    """Return the Encoding of `rows` (N,) of a dataset, given the encoder's outputs `h` (N, ...) for these rows."""
    grid = prod(dataset.factor_sizes) == len(dataset.images)
    with torch.no_grad():
        prior = vae.prior()
    return Encoding(
        codes=means(vae.posterior, h),
        factors=dataset.factors[rows.cpu().numpy()],
        factor_names=dataset.factor_names,
        population=len(dataset.images) if grid else None,
        samples=samples(vae.posterior, h),
        h=h,
        posterior=vae.posterior,
        prior=prior,
        vae=vae,
        images=dataset.images,
        rows=rows.cpu().numpy(),
        class_names=dataset.class_names,
    )
