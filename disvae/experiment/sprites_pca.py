"""Principal components of the sprites, whose shares and variances are known."""

import numpy as np
import torch

from disvae.dataset.sprites import Sprites
from disvae.experiment.recipe import Recipe
from disvae.prior.anisotropic import principal_variances

IMAGES = 40_000


class SpritesPCA(Recipe):
    """A recipe that needs no training: it checks the images."""

    def exact(self) -> dict[str, float]:
        """Return shares of the first components and their variances, of images drawn by seed 0."""
        images = Sprites(shapes=3, scales=6, orientations=40, positions=32).images
        rows = torch.from_numpy(np.random.default_rng(0).permutation(len(images))[:IMAGES])
        x = images.take(rows)
        variances = principal_variances(x, 15).numpy()
        total = float(x.flatten(1).double().var(0).sum())
        relative = variances[:10] / variances[:10].mean()
        return {
            "share10": float(variances[:10].sum() / total),
            "share15": float(variances.sum() / total),
            **{f"variance{i + 1}": float(value) for i, value in enumerate(relative)},
        }
