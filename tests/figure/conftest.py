"""Fixtures: what pictures of any images are drawn from."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from disvae.dataset import Dataset, Images
from disvae.encoding import encode, encoding_of
from disvae.vae import VAE
from disvae.view import View


class Given(Dataset):
    """Images (N, C, H, W) and factors (N, K) that are there."""

    def __init__(self, x: Tensor, factors: np.ndarray, names: tuple[str, ...]) -> None:
        self.images = Images(x, x.shape[1:])
        self.factors = factors
        self.factor_names = names
        self.factor_sizes = tuple(int(column.max()) + 1 for column in factors.T)
        self.checksum = ""


@pytest.fixture
def view_of_images() -> Callable[..., View]:
    """A view of a VAE on all of the images (N, C, H, W), in their order."""

    def make(vae: VAE, x: Tensor, factors: dict[str, np.ndarray] | None = None, **more: Any) -> View:
        named = factors or {}
        columns = np.stack(list(named.values()), 1) if named else np.zeros((len(x), 0), np.int64)
        dataset, rows = Given(x, columns, tuple(named)), torch.arange(len(x))
        return View(encoding_of(vae.eval(), encode(vae, dataset.images, rows), dataset, rows), **more)

    return make
