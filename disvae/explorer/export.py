"""Export a decoder as a list of layers that JSON can hold and page.html.jinja can compute.

After the first `unflatten`, the page keeps images as (H, W, C): a transposed convolution then reads memory in order,
and a canvas can show the last layer directly.
"""

import base64
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disvae.config import ConfigError
from disvae.likelihood import Likelihood
from disvae.likelihood.bernoulli import Bernoulli
from disvae.likelihood.gaussian import Gaussian
from disvae.likelihood.laplace import Laplace
from disvae.model.pixels import ToPixels
from disvae.vae import VAE

Layer = dict[str, Any]


def text(array: Tensor | np.ndarray) -> str:
    """Return the numbers of an array, in order, as little-endian float32 in base64."""
    flat = np.ascontiguousarray(np.asarray(array.detach().cpu() if isinstance(array, Tensor) else array), "<f4")
    return base64.b64encode(flat.tobytes()).decode()


def layers(vae: VAE, x_shape: Sequence[int]) -> list[Layer]:
    """Return the layers that compute the mean of p(x|z), (H, W, C), from a code (D,); `x_shape` is (C, H, W).

    Raises:
        ConfigError: the page does not know a layer or the likelihood, which the message names.
    """
    return [*_without_noise(vae), *_walk(vae.model.decoder), *_mean(vae.likelihood, x_shape)]


def _without_noise(vae: VAE) -> list[Layer]:
    """Return a layer that gives a code zeros as the decoder's noise, if there is any."""
    if not vae.noise:
        return []
    D = vae.prior.z_dim
    return [{"kind": "linear", "weight": text(torch.eye(D + vae.noise, D)), "bias": text(torch.zeros(D + vae.noise))}]


def _walk(module: nn.Module) -> list[Layer]:
    if type(module) is nn.Sequential:
        return [layer for child in module for layer in _walk(child)]
    if type(module) not in LAYERS:  # exactly this type: a subclass may compute something else
        known = ", ".join(kind.__name__ for kind in LAYERS)
        raise ConfigError(
            f"the decoder has a layer {type(module).__name__}, which the page cannot compute; it knows {known}: add it "
            "to disvae/explorer/export.py and page.html.jinja"
        )
    return [LAYERS[type(module)](module)]


def _linear(layer: nn.Linear) -> Layer:
    bias = torch.zeros(layer.out_features) if layer.bias is None else layer.bias
    return {"kind": "linear", "weight": text(layer.weight), "bias": text(bias)}  # (out, in)


def _unflatten(layer: nn.Unflatten) -> Layer:
    if layer.dim != 1 or len(layer.unflattened_size) != 3:
        raise ConfigError(f"the page knows Unflatten(1, (C, H, W)), got {layer}")
    return {"kind": "unflatten", "shape": list(layer.unflattened_size)}


def _conv_transpose(layer: nn.ConvTranspose2d) -> Layer:
    if layer.groups != 1 or tuple(layer.dilation) != (1, 1):
        raise ConfigError(f"the page knows a ConvTranspose2d without groups and dilation, got {layer}")
    return {
        "kind": "conv_transpose",
        "kernel": list(layer.kernel_size),
        "stride": list(layer.stride),
        "padding": list(layer.padding),
        "extra": list(layer.output_padding),
        "weight": text(layer.weight.permute(0, 2, 3, 1)),  # (in, kernel, kernel, out)
        "bias": text(torch.zeros(layer.out_channels) if layer.bias is None else layer.bias),
    }


def _batch_norm(layer: nn.BatchNorm1d | nn.BatchNorm2d) -> Layer:
    """Return the layer in evaluation mode: a factor and a shift for each channel."""
    mean, variance = layer.running_mean, layer.running_var
    if mean is None or variance is None or not layer.affine:
        raise ConfigError(f"the page knows batch normalisation with running statistics and weights, got {layer}")
    scale = layer.weight.double() / (variance.double() + layer.eps).sqrt()
    return {"kind": "scale", "scale": text(scale), "shift": text(layer.bias.double() - scale * mean.double())}


LAYERS: dict[type[nn.Module], Callable[[Any], Layer]] = {
    nn.Linear: _linear,
    nn.Unflatten: _unflatten,
    nn.ConvTranspose2d: _conv_transpose,
    ToPixels: _conv_transpose,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.ReLU: lambda layer: {"kind": "relu"},
    nn.Tanh: lambda layer: {"kind": "tanh"},
}


def _mean(likelihood: Likelihood, x_shape: Sequence[int]) -> list[Layer]:
    if type(likelihood) is Bernoulli:
        return [{"kind": "sigmoid"}]
    if type(likelihood) in (Gaussian, Laplace):  # learnt scales of the pixels follow the means
        return [] if likelihood.size == 1 else [{"kind": "first", "channels": x_shape[0], "of": 2 * x_shape[0]}]
    raise ConfigError(
        f"the page does not know the mean under likelihood {type(likelihood).__name__}: add it to "
        "disvae/explorer/export.py"
    )
