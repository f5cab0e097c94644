"""Random decoders of every model and likelihood, whose pictures have contrast."""

from collections.abc import Callable

import torch
from omegaconf import DictConfig

from disvae.build import make_vae
from disvae.config import options, resolved
from disvae.vae import VAE

CASES = [(model, likelihood) for model in options("model") for likelihood in options("likelihood")]

SHAPE = {"dcgan": (3, 32, 32), "mlp": (1, 12, 20), "mlp_higgins": (3, 12, 20), "conv_locatello": (1, 64, 64)}
"""Grey and colour; what takes any shape is given sides that differ."""


def random_vae(composed: Callable[..., DictConfig], model: str, likelihood: str) -> tuple[VAE, tuple[int, ...]]:
    """An untrained VAE in evaluation mode with 7 latents, and its image's shape."""
    shape = SHAPE.get(model, (3, 64, 64))
    narrow = ["model.decoder_hidden=[30, 20, 10]"] if model == "mlp_higgins" else []
    config = resolved(composed(f"model={model}", f"likelihood={likelihood}", "z_dim=7", *narrow))
    torch.manual_seed(0)
    vae = make_vae(config, shape).eval()
    for layer in vae.model.decoder.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.ConvTranspose2d):  # else every picture is grey
            fan = layer.in_features if isinstance(layer, torch.nn.Linear) else 4 * layer.in_channels
            torch.nn.init.normal_(layer.weight, 0, (2 / fan) ** 0.5)
            if layer.bias is not None:
                torch.nn.init.normal_(layer.bias, 0, 0.3)
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean):
                torch.nn.init.normal_(tensor, 0.3, 0.5)
            torch.nn.init.uniform_(layer.running_var, 0.5, 2)
    return vae, shape
