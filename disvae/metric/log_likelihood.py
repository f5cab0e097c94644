"""log p(x) >= E log (1/K) sum_k p(x|z_k) p(z_k) / q(z_k|x), z_k ~ q(z|x); Burda et al. 2016, eq. 8.

With K = 1 it is the ELBO.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from disvae.metric import ModelMetric
from disvae.vae import VAE

if TYPE_CHECKING:
    from disvae.encoding import Encoding


class LogLikelihood(ModelMetric):
    """The importance-weighted bound on log p(x) in nats per image, beside the ELBO of the same images and samples.

    It is a lower bound that rises towards log p(x) with `samples`, slowly if q(z|x) is far from p(z|x). Differences
    between models smaller than what it still gains mean nothing. `gap` = iwae - elbo. `effective_samples` is how many
    of the K weights count; near 1 the bound is loose. Under Bernoulli only binary images have a likelihood.
    """

    needs = ("vae", "images", "rows")

    def __init__(self, *, images: int, samples: int) -> None:
        if images < 2:
            raise ValueError(f"images must be at least 2, got {images}")
        if samples < 1:
            raise ValueError(f"samples must be positive, got {samples}")
        if samples > 100_000:
            raise ValueError(f"samples must be at most 100,000, because each image is decoded so often, got {samples}")
        self.images = images
        self.samples = samples

    def __call__(self, encoding: "Encoding", *, seed: int = 0) -> dict[str, float]:
        """Return `iwae`, `elbo`, `gap` and `effective_samples`, means over the images, with standard errors."""
        vae, images, rows = encoding.vae, encoding.images, encoding.rows
        assert vae is not None
        assert images is not None
        assert rows is not None
        chosen = np.random.default_rng(seed).permutation(len(rows))[: self.images]
        index = torch.from_numpy(rows[np.sort(chosen)])
        device = next(vae.parameters()).device
        # image-samples decoded at a time: 2^18 pixels stay in a CPU's cache
        block = max(1, (2**18 if device.type == "cpu" else 2**24) // math.prod(images.x_shape))
        x_rows = max(1, block // self.samples)
        was_training = vae.training
        vae.eval()
        log_w = []
        with (
            torch.random.fork_rng([device] if device.type == "cuda" else []),
            tqdm(total=len(index), desc="log-likelihood", unit=" images", leave=False, disable=None, delay=2) as bar,
        ):
            torch.manual_seed(seed)
            for part in index.split(x_rows):
                log_w.append(log_weights(vae, images.take(part).to(device), self.samples, block).double().cpu())
                bar.update(len(part))
        vae.train(was_training)
        return _summary(torch.cat(log_w, dim=1))


@torch.no_grad()
def log_weights(vae: VAE, x: Tensor, samples: int, block: int) -> Tensor:
    """Return log p(x|z_k) p(z_k) / q(z_k|x) (K, B) for images (B, C, H, W), at most `block` decoded at a time."""
    qz_x, pz = vae.encode(x), vae.prior()
    k_rows = max(1, block // len(x))
    log_w = []
    for start in range(0, samples, k_rows):
        z = qz_x.sample((min(k_rows, samples - start),))  # (k, B, D)
        px_z = vae.decode(z.flatten(0, 1))  # (k B,)
        log_px_z = px_z.log_prob(x.expand(len(z), *x.shape).flatten(0, 1)).view(z.shape[:2])
        log_w.append(log_px_z + pz.log_prob(z) - qz_x.log_prob(z))
    return torch.cat(log_w)


def _summary(log_w: Tensor) -> dict[str, float]:
    K, n = log_w.shape
    iwae = log_w.logsumexp(0) - math.log(K)
    elbo = log_w.mean(0)
    effective = (2 * log_w.logsumexp(0) - (2 * log_w).logsumexp(0)).exp()  # (sum w)^2 / sum w^2
    scores = {}
    for name, of_image in (("iwae", iwae), ("elbo", elbo), ("gap", iwae - elbo), ("effective_samples", effective)):
        scores[name] = of_image.mean().item()
        scores[f"{name}_se"] = of_image.std().item() / math.sqrt(n)
    return scores
