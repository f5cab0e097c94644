"""Fixtures: what pictures of any images are drawn from."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from disvae.build import make_vae
from disvae.config import resolved
from disvae.dataset import Dataset, Images
from disvae.encoding import encode, encoding_of
from disvae.pictures.figure_data import FigureData
from disvae.vae import VAE


class Given(Dataset):
    """Images (N, C, H, W) and factors (N, K) that are there."""

    def __init__(self, x: Tensor, factors: np.ndarray, names: tuple[str, ...]) -> None:
        self.images = Images(x, x.shape[1:])
        self.factors = factors
        self.factor_names = names
        self.factor_sizes = tuple(int(column.max()) + 1 for column in factors.T)
        self.checksum = ""


@pytest.fixture
def view_of_images() -> Callable[..., FigureData]:
    """A view of a VAE on all of the images (N, C, H, W), in their order."""

    def make(
        vae: VAE,
        x: Tensor,
        factors: dict[str, np.ndarray] | None = None,
        class_names: dict[str, tuple[str, ...]] | None = None,
        **more: Any,
    ) -> FigureData:
        named = factors or {}
        columns = np.stack(list(named.values()), 1) if named else np.zeros((len(x), 0), np.int64)
        dataset, rows = Given(x, columns, tuple(named)), torch.arange(len(x))
        dataset.class_names = class_names or {}
        return FigureData(encoding_of(vae.eval(), encode(vae, dataset.images, rows), dataset, rows), **more)

    return make


@pytest.fixture
def encoded(composed, view_of_images) -> Callable[..., tuple[VAE, FigureData]]:
    """A VAE, and a view of N images 16 x 16 whose q(z|x) have these means (N, D) and one standard deviation."""

    def make(
        codes: np.ndarray, factors: dict[str, np.ndarray] | None = None, *overrides: str, std: float = 0.1, **more: Any
    ) -> tuple[VAE, FigureData]:
        N, D = codes.shape
        small = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]", f"z_dim={D}")
        vae = make_vae(resolved(composed(*small, *overrides)), (1, 16, 16)).eval()
        log_variance = torch.full((N, D), 2 * math.log(std))
        h = torch.cat([torch.from_numpy(codes).float(), log_variance], 1)
        h = torch.cat([h, h.new_zeros(N, vae.posterior.size - 2 * D)], 1)  # of a covariance
        vae.model.encoder.forward = lambda x: h[x[:, 0, 0, 0].long()]
        x = torch.arange(N).float().view(N, 1, 1, 1).expand(N, 1, 16, 16)
        return vae, view_of_images(vae, x, factors, **more)

    return make
