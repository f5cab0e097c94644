"""Dataset: images held in memory, and the factors that made them."""

from abc import ABC
from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor


class Images:
    """N images of one shape in one tensor, given out as float32 by index.

    `data` is uint8 (N, ceil(C * H * W / 8)) for binary images packed eight pixels a byte (numpy.packbits order), uint8
    (N, C, H, W) for grey or colour, or float32 (N, C, H, W) for points that are no pictures.
    """

    def __init__(self, data: Tensor, x_shape: Sequence[int]) -> None:
        self.data = data
        self.x_shape: tuple[int, ...] = tuple(x_shape)
        self.bit_packed = data.dtype == torch.uint8 and data.dim() == 2
        row = (-(-prod(self.x_shape) // 8),) if self.bit_packed else self.x_shape
        if tuple(data.shape[1:]) != row:
            raise ValueError(f"images must be (N, {', '.join(map(str, row))}), got {tuple(data.shape)}")
        pixels = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)  # (256, 8): of each value of a byte
        # Read as one integer, the eight pixels of a byte come with a single look-up.
        self._unpacked = torch.from_numpy(pixels.view(np.int64)[:, 0]).to(data.device)

    def __len__(self) -> int:
        return len(self.data)

    def to(self, device: torch.device | str) -> "Images":
        """The same images on another device."""
        return Images(self.data.to(device), self.x_shape)

    def take(self, index: Tensor) -> Tensor:
        """Images at `index` (B,) as float32 (B, C, H, W); pictures are in [0, 1]."""
        rows = self.data.index_select(0, index.to(self.data.device))
        if self.bit_packed:
            pixels = self._unpacked.index_select(0, rows.flatten().int()).view(torch.uint8)
            bits = pixels.view(len(rows), 8 * rows.shape[1])[:, : prod(self.x_shape)]
            return bits.float().view(len(rows), *self.x_shape)
        return rows.float().div_(255) if rows.dtype == torch.uint8 else rows


class Dataset(ABC):
    """Images with their factors of variation. A leaf is a class whose constructor reads or draws them.

    `factors` (N, K) holds class indices, column k in [0, factor_sizes[k]); K = 0 where nothing is known. `held_out` are
    the rows of an official test split, or None to have one drawn by seed. `checksum` identifies the content and goes
    into a run's provenance.
    """

    images: Images
    factors: np.ndarray
    factor_names: tuple[str, ...]
    factor_sizes: tuple[int, ...]
    checksum: str
    held_out: np.ndarray | None = None

    @property
    def x_shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return self.images.x_shape
