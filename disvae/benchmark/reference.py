"""A plain training loop, as it is usually written, for comparison with this package.

It trains a β-VAE with the network of Burgess et al. 2018. A DataLoader collates float images one by one, the layers
are stock layers, Adam updates tensor by tensor, and the loss is read at every step. Its process has imported disvae
but uses nothing of it, so memory is allocated as in any other program.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.data import DataLoader, TensorDataset


class PlainVAE(nn.Module):
    """The encoder and decoder of Burgess et al. for one-channel 64x64 images."""

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            *(layer for channels in (1, 32, 32, 32) for layer in (nn.Conv2d(channels, 32, 4, 2, 1), nn.ReLU())),
            *(nn.Flatten(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()),
            nn.Linear(256, 2 * z_dim),
        )
        self.decoder = nn.Sequential(
            *(nn.Linear(z_dim, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 512), nn.ReLU()),
            nn.Unflatten(1, (32, 4, 4)),
            *(layer for _ in range(3) for layer in (nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU())),
            nn.ConvTranspose2d(32, 1, 4, 2, 1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits of the pixels, and the mean and log-variance of q(z|x)."""
        mu, log_variance = self.encoder(x).chunk(2, dim=1)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mu, log_variance


def plain(turn: Callable[[], None], file: Path, batch_size: int, z_dim: int, beta: float, device: torch.device) -> None:
    """Train on a .npy file of uint8 images (N, 1, 64, 64), 0 or 1, without end; call `turn` before each step."""
    images = torch.from_numpy(np.load(file)).float()
    model = PlainVAE(z_dim).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, foreach=False, fused=False)
    loader = DataLoader(
        TensorDataset(images), batch_size, shuffle=True, drop_last=True, pin_memory=device.type == "cuda"
    )
    losses = []
    while True:
        for (batch,) in loader:
            turn()
            x = batch.to(device)
            logits, mu, log_variance = model(x)
            reconstruction = binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
            kl = -0.5 * (1 + log_variance - mu**2 - log_variance.exp()).sum(1).mean()
            loss = reconstruction + beta * kl
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
