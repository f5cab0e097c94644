"""Sprites drawn on the factor grid of dSprites: shape x scale x orientation x posX x posY (Matthey et al. 2017)."""

import logging

import numpy as np
import torch
from tqdm import tqdm

from disvae.data import cache, polygon
from disvae.dataset import Dataset, Images

log = logging.getLogger(__name__)

VERSION = 1  # raise it when the drawing changes, so that old caches are not used


class Sprites(Dataset):
    """Squares, ellipses and hearts on the dSprites grid: 737,280 binary 64 x 64 images, without a download.

    About one image in 7,000 differs from dSprites by one pixel, so report scores as scores on `sprites`. A smaller grid
    takes every second, third, ... value of a factor, so its images are in the full grid, too. A factor with one value
    is left out.
    """

    def __init__(self, shapes: int = 3, scales: int = 6, orientations: int = 40, positions: int = 32) -> None:
        if not 1 <= shapes <= 3:
            raise ValueError(f"shapes must be 1 (square), 2 (and ellipse) or 3 (and heart), got {shapes}")
        axes = [
            np.arange(shapes),
            _sub_grid("scales", scales, 0.5, 1.0, 6),
            _sub_grid("orientations", orientations, 0.0, 2 * np.pi, 40),
            _sub_grid("positions", positions, 0.0, 1.0, 32),
            _sub_grid("positions", positions, 0.0, 1.0, 32),
        ]
        sizes = tuple(len(axis) for axis in axes)
        path = cache.cache_folder() / f"sprites-v{VERSION}-{'x'.join(map(str, sizes))}.npz"
        kept, self.checksum = cache.build_once(path, lambda: {"images": _draw(axes)})
        self.images = Images(torch.from_numpy(kept["images"]), (1, polygon.SIDE, polygon.SIDE))
        varying = [k for k, size in enumerate(sizes) if size > 1]
        self.factors = np.ascontiguousarray(np.indices(sizes).reshape(len(sizes), -1)[varying].T)
        self.factor_names = tuple(("shape", "scale", "orientation", "posX", "posY")[k] for k in varying)
        self.factor_sizes = tuple(sizes[k] for k in varying)


def outline(shape: int) -> np.ndarray:
    """Return the vertices (V, 2) of shape 0 (square), 1 (ellipse) or 2 (heart) around its centre, in pixels, y down."""
    half = 9.6
    if shape == 0:
        return half * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    if shape == 1:
        a = 2 * np.pi * np.arange(100) / 100
        return np.stack([half * 1.33 * np.cos(a), half / 1.33 * np.sin(a)], axis=1)
    a = 2 * np.pi * np.arange(150) / 150
    up = 13 * np.cos(a) - 5 * np.cos(2 * a) - 2 * np.cos(3 * a) - np.cos(4 * a)
    return np.stack([half * np.sin(a) ** 3, -half * (up / 14.5 + 0.15)], axis=1)


def _sub_grid(name: str, n: int, low: float, high: float, full: int) -> np.ndarray:
    """Return every (full / n)-th of `full` equally spaced values from low to high."""
    allowed = [d for d in range(1, full + 1) if full % d == 0]
    if n not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {n}")
    return low + np.arange(0, full, full // n) * (high - low) / (full - 1)


def _draw(axes: list[np.ndarray]) -> np.ndarray:
    """Return the images of all combinations of factor values, (N, 512) with eight pixels in a byte."""
    shapes, scales, orientations, xs, ys = axes
    count = len(shapes) * len(scales) * len(orientations)
    places = len(xs) * len(ys)
    images = np.empty((count, len(xs), len(ys), polygon.SIDE), dtype=">u8")
    log.info("drawing %s sprites (only once on this machine)", f"{count * places:,}")
    with tqdm(total=count * places, desc="drawing sprites", unit=" images", unit_scale=True, disable=None) as bar:
        each = ((outline(shape), s, t) for shape in shapes for s in scales for t in orientations)
        for k, (vertices, s, t) in enumerate(each):
            u, v = s * vertices.T
            x = 16 + 32 * xs[:, None] + (u * np.cos(t) + v * np.sin(t))  # (P, V): counter-clockwise on screen
            y = 16 + 32 * ys[:, None] + (v * np.cos(t) - u * np.sin(t))
            images[k] = polygon.fill(*(np.rint(polygon.UNIT * a).astype(np.int64) for a in (x, y)))
            bar.update(places)
    return images.view(np.uint8).reshape(count * places, -1)
