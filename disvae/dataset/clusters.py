"""Points in R^2: an arm is (r, N(0, .1)) with r ~ N(1, .3), turned by 2 pi k / K + exp(r) / 4; a blob is a Gaussian."""

from typing import Literal

import numpy as np
import torch

from disvae.data import cache
from disvae.dataset import Dataset, Images

RADIAL_STD, LATERAL_STD, TWIST = 0.3, 0.1, 0.25  # Mathieu et al. 2019, section 5 (clustering)
BLOB_STD = 0.1
LARGEST = 1_000_000  # points


class Clusters(Dataset):
    """Groups of points in R^2 whose factor is the group; meant for pictures of q(z), not for scores.

    The pinwheel of Mathieu et al. 2019 has arms around the unit circle that bend with the radius. The blobs are round
    Gaussians on the unit circle, which a prior with as many modes can fit.
    """

    def __init__(
        self, kind: Literal["pinwheel", "blobs"] = "pinwheel", clusters: int = 4, points: int = 100, seed: int = 0
    ) -> None:
        if kind not in ("pinwheel", "blobs"):
            raise ValueError(f"kind must be pinwheel or blobs, got {kind}")
        if min(clusters, points) < 1:
            raise ValueError(f"clusters and points must be positive, got {clusters} and {points}")
        if clusters * points > LARGEST:
            raise ValueError(f"clusters times points must be at most {LARGEST:,}, got {clusters} times {points}")
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(clusters), points)
        noise = rng.standard_normal((len(group), 2))
        angle = 2 * np.pi * group / clusters
        if kind == "pinwheel":
            radial, lateral = 1 + RADIAL_STD * noise[:, 0], LATERAL_STD * noise[:, 1]
            angle = angle + TWIST * np.exp(radial)
        else:
            radial, lateral = 1 + BLOB_STD * noise[:, 0], BLOB_STD * noise[:, 1]
        cos, sin = np.cos(angle), np.sin(angle)
        xy = np.stack([radial * cos - lateral * sin, radial * sin + lateral * cos], axis=1).astype(np.float32)
        self.images = Images(torch.from_numpy(xy[:, None, None, :]), (1, 1, 2))
        self.factors = group[:, None]
        self.factor_names = ("cluster",)
        self.factor_sizes = (clusters,)
        self.checksum = cache.content_checksum({"images": xy, "factors": self.factors})
