"""The exported layers say what the decoder computes."""

import base64
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from disvae.build import make_vae
from disvae.config import ConfigError, resolved
from disvae.explorer.export import layers
from disvae.likelihood import Likelihood
from tests.explorer.decoders import CASES, random_vae


def numbers(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float64)


def computed(exported: list[dict[str, Any]], z: np.ndarray) -> np.ndarray:
    """What page.html.jinja computes: a vector, from `unflatten` on (H, W, C)."""
    x = z
    for layer in exported:
        match layer["kind"]:
            case "linear":
                bias = numbers(layer["bias"])
                x = numbers(layer["weight"]).reshape(len(bias), -1) @ x + bias
            case "unflatten":
                x = x.reshape(layer["shape"]).transpose(1, 2, 0)
            case "conv_transpose":
                (H, W, C), (K, L), (S, T), (P, Q) = x.shape, layer["kernel"], layer["stride"], layer["padding"]
                weight = numbers(layer["weight"]).reshape(C, K, L, -1)
                whole = np.zeros(
                    ((H - 1) * S + K + layer["extra"][0], (W - 1) * T + L + layer["extra"][1], weight.shape[-1])
                )
                for h in range(H):
                    for w in range(W):
                        whole[h * S : h * S + K, w * T : w * T + L] += np.tensordot(x[h, w], weight, 1)
                x = whole[P : len(whole) - P, Q : whole.shape[1] - Q] + numbers(layer["bias"])
            case "scale":
                x = x * numbers(layer["scale"]) + numbers(layer["shift"])
            case "first":
                assert x.shape[-1] == layer["of"]
                x = x[..., : layer["channels"]]
            case "relu":
                x = np.maximum(x, 0)
            case "tanh":
                x = np.tanh(x)
            case "sigmoid":
                x = 1 / (1 + np.exp(-x))
            case other:
                raise AssertionError(other)
    return x


@pytest.mark.parametrize(("model", "likelihood"), CASES)
def test_the_layers_give_the_mean_of_every_model_and_likelihood(composed, model, likelihood):
    vae, shape = random_vae(composed, model, likelihood)
    z = torch.randn(7)
    with torch.no_grad():
        mean = vae.decode(z[None]).mean[0].permute(1, 2, 0).numpy()
    assert mean.std() > 0.1
    np.testing.assert_allclose(computed(layers(vae, shape), z.double().numpy()), mean, atol=1e-4)


def test_a_decoder_with_noise_gets_zeros_after_the_code(composed):
    vae = make_vae(
        resolved(composed("objective=infogan", "objective.noise=3", "model=spectral", "z_dim=7")), (1, 16, 16)
    )
    z = torch.randn(7)
    with torch.no_grad():
        mean = vae.eval().decode(z[None]).mean[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(computed(layers(vae, (1, 16, 16)), z.double().numpy()), mean, atol=1e-5)


class Doubled(nn.Linear):
    """Not what its parent computes."""


@pytest.mark.parametrize(
    ("layer", "named"),
    [
        (nn.Softplus(), "Softplus"),
        (Doubled(4, 4), "Doubled"),
        (nn.ConvTranspose2d(4, 4, 3, groups=2), "groups=2"),
        (nn.BatchNorm2d(4, track_running_stats=False), "running statistics"),
        (nn.Unflatten(1, (2, 2)), r"Unflatten\(1, \(C, H, W\)\)"),
    ],
)
def test_a_layer_that_the_page_does_not_know_is_refused_by_name(composed, layer, named):
    vae, shape = random_vae(composed, "mlp", "bernoulli")
    vae.model.decoder.append(layer)
    with pytest.raises(ConfigError, match=named):
        layers(vae, shape)


def test_a_likelihood_that_the_page_does_not_know_is_refused_by_name(composed):
    class Poisson(Likelihood):
        pass

    vae, shape = random_vae(composed, "mlp", "bernoulli")
    vae.likelihood = Poisson()
    with pytest.raises(ConfigError, match="Poisson"):
        layers(vae, shape)


def test_output_padding_and_uneven_kernels_are_kept(composed):
    vae, _ = random_vae(composed, "mlp", "gaussian")
    vae.model.decoder = nn.Sequential(
        nn.Linear(7, 24, bias=False),
        nn.Unflatten(1, (2, 3, 4)),
        nn.ConvTranspose2d(2, 3, (3, 5), (2, 3), (1, 0), (1, 2)),
    )
    z = torch.randn(7)
    with torch.no_grad():
        mean = vae.decode(z[None]).mean[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(computed(layers(vae, (3, 6, 16)), z.double().numpy()), mean, atol=1e-5)
