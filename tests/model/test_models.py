"""Networks: shapes, parameter counts by hand from the papers' tables, and refusals that name a network that fits."""

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from disvae.model.conv import Conv
from disvae.model.conv_locatello import ConvLocatello
from disvae.model.dcgan import DCGAN
from disvae.model.mathieu_dsprites import MathieuDSprites
from disvae.model.mlp import MLP, perceptron
from disvae.model.spectral import Spectral

NETWORKS = {"conv": Conv, "conv_locatello": ConvLocatello, "mathieu_dsprites": MathieuDSprites, "dcgan": DCGAN}
SIDE = {"conv": 64, "conv_locatello": 64, "mathieu_dsprites": 64, "dcgan": 32}


def mlp(x_shape, z_dim, encoder_size, likelihood_size, *, encoder=(100,), decoder=(100,), activations=("relu", "relu")):
    return MLP(
        x_shape,
        z_dim,
        encoder_size,
        likelihood_size,
        encoder_hidden=list(encoder),
        decoder_hidden=list(decoder),
        encoder_activation=activations[0],
        decoder_activation=activations[1],
    )


def numbers(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def full(*widths: int) -> int:
    """Weights and biases of fully connected layers."""
    return sum(a * b + b for a, b in pairwise(widths))


def conv(*channels: int, kernel: int = 4, bias: bool = True) -> int:
    """Weights and biases of (transposed) convolutions."""
    return sum(a * b * kernel**2 + b * bias for a, b in pairwise(channels))


@pytest.mark.parametrize(
    ("name", "channels", "z_dim", "encoder", "decoder"),
    [
        ("conv", 1, 10,
         conv(1, 32, 32, 32, 32) + full(512, 256, 256, 20),
         full(10, 256, 256, 512) + conv(32, 32, 32, 32, 1)),
        ("conv_locatello", 3, 10,
         conv(3, 32, 32) + conv(32, 64, 64, kernel=2) + full(1024, 256, 20),
         full(10, 256, 1024) + conv(64, 64, 32, 32, 3)),
        ("mathieu_dsprites", 1, 10,
         conv(1, 32, 32, 64, 64) + full(1024, 128, 20),
         full(10, 128, 1024) + conv(64, 64, 64, 32, 1)),
        ("dcgan", 1, 50,
         conv(1, 32, 64, 128, bias=False) + 2 * (64 + 128) + conv(128, 100),
         conv(50, 128, 64, 32, 1, bias=False) + 2 * (128 + 64 + 32)),
    ],
)  # fmt: skip
def test_parameters_are_as_many_as_the_paper_has(name, channels, z_dim, encoder, decoder):
    model = NETWORKS[name]((channels, SIDE[name], SIDE[name]), z_dim, 2 * z_dim, 1)
    assert numbers(model.encoder) == encoder
    assert numbers(model.decoder) == decoder


@pytest.mark.parametrize(("side", "halvings"), [(16, 2), (32, 3), (64, 4), (128, 5), (256, 6)])
def test_conv_has_a_convolution_for_each_halving_of_the_side(side, halvings):
    model = Conv((3, side, side), 10, 20, 2)
    assert numbers(model.encoder) == conv(3, *[32] * halvings) + full(512, 256, 256, 20)
    assert numbers(model.decoder) == full(10, 256, 256, 512) + conv(*[32] * halvings, 6)
    assert model.encoder(torch.rand(2, 3, side, side)).shape == (2, 20)
    assert model.decoder(torch.randn(2, 10)).shape == (2, 6, side, side)


def test_the_burgess_network_has_half_a_million_parameters():
    assert numbers(Conv((1, 64, 64), 10, 20, 1)) == 502_005


def test_the_fully_connected_network_of_higgins_has_both_depths():
    model = mlp((1, 64, 64), 10, 20, 1, encoder=(1200, 1200), decoder=(1200, 1200, 1200), activations=("relu", "tanh"))
    assert numbers(model.encoder) == full(4096, 1200, 1200, 20)
    assert numbers(model.decoder) == full(10, 1200, 1200, 1200, 4096)
    assert [type(layer) for layer in model.encoder if not isinstance(layer, nn.Linear)] == [
        nn.Flatten,
        nn.ReLU,
        nn.ReLU,
    ]
    assert [type(layer) for layer in model.decoder if not isinstance(layer, nn.Linear)] == [
        *[nn.Tanh] * 3,
        nn.Unflatten,
    ]


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=5, deadline=None)
@given(
    channels=st.integers(1, 3),
    z_dim=st.integers(1, 20),
    batch=st.integers(2, 5),
    likelihood_size=st.integers(1, 2),
    encoder_size=st.integers(1, 60),
)
def test_encoder_and_decoder_have_the_shapes_of_the_contract(
    name, channels, z_dim, batch, likelihood_size, encoder_size
):
    x_shape = (channels, SIDE[name], SIDE[name])
    model = NETWORKS[name](x_shape, z_dim, encoder_size, likelihood_size)
    assert model.encoder(torch.rand(batch, *x_shape)).shape == (batch, encoder_size)
    assert model.decoder(torch.randn(batch, z_dim)).shape == (batch, likelihood_size * channels, *x_shape[1:])


@settings(max_examples=20, deadline=None)
@given(
    x_shape=st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)),
    z_dim=st.integers(1, 20),
    batch=st.integers(1, 5),
    likelihood_size=st.integers(1, 2),
    hidden=st.lists(st.integers(1, 30), max_size=3),
)
def test_a_perceptron_takes_any_shape(x_shape, z_dim, batch, likelihood_size, hidden):
    model = mlp(x_shape, z_dim, 2 * z_dim, likelihood_size, encoder=hidden, decoder=hidden[::-1])
    assert model.encoder(torch.rand(batch, *x_shape)).shape == (batch, 2 * z_dim)
    out = model.decoder(torch.randn(batch, z_dim))
    assert out.shape == (batch, likelihood_size * x_shape[0], *x_shape[1:])
    assert numbers(model.encoder) == full(math.prod(x_shape), *hidden, 2 * z_dim)


@pytest.mark.parametrize(
    ("name", "x_shape", "fitting"),
    [
        ("conv", (1, 1, 2), "mlp"),
        ("conv", (1, 64, 32), "mlp, or resize"),
        ("conv", (3, 28, 28), r"mlp, or resize the images \(dataset=images takes dataset.size=64\)"),
        ("conv", (3, 512, 512), "mlp, or resize"),
        ("conv", (3, 8, 8), "mlp, or resize"),
        ("conv_locatello", (1, 32, 32), "conv"),
        ("mathieu_dsprites", (1, 32, 32), "conv"),
        ("dcgan", (1, 64, 64), "conv"),
        ("dcgan", (1, 28, 28), "mlp, or resize"),
        ("dcgan", (64, 64), "mlp, or resize"),
    ],
)
def test_a_wrong_shape_is_refused_with_a_model_that_takes_it(name, x_shape, fitting):
    sides = "S, S\\) with S 16, 32, 64, 128, 256" if name == "conv" else f"{SIDE[name]}, {SIDE[name]}\\)"
    message = rf"x_shape must be \(C, {sides} for model={name}, got .*: type model={fitting}"
    with pytest.raises(ValueError, match=message):
        NETWORKS[name](x_shape, 10, 20, 1)
    if len(x_shape) == 3 and fitting in NETWORKS:
        NETWORKS[fitting](x_shape, 10, 20, 1)


@pytest.mark.parametrize("name", ["conv", "conv_locatello", "mathieu_dsprites"])
def test_the_code_of_an_image_does_not_depend_on_its_batch(name):
    torch.manual_seed(0)
    model = NETWORKS[name]((1, 64, 64), 10, 20, 1)
    x = torch.rand(4, 1, 64, 64)
    assert torch.allclose(model.encoder(x)[:1], model.encoder(x[:1]), atol=1e-6)


def test_batch_normalisation_makes_it_depend_in_training_and_not_in_evaluation():
    torch.manual_seed(0)
    model = DCGAN((1, 32, 32), 5, 10, 1)
    x = torch.rand(4, 1, 32, 32)
    assert not torch.allclose(model.encoder(x)[:1], model.encoder(x[:1]), atol=1e-4)
    model.eval()
    assert torch.allclose(model.encoder(x)[:1], model.encoder(x[:1]), atol=1e-6)


def test_mathieus_layer_of_128_has_no_activation():
    hidden, head = MathieuDSprites((1, 64, 64), 10, 20, 1).encoder[-2:]
    assert (hidden.out_features, head.in_features) == (128, 128)


def test_dcgan_weights_start_at_deviation_002():
    torch.manual_seed(0)
    model = DCGAN((1, 32, 32), 50, 100, 1)
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.weight.numel() > 10_000:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_pixel_and_every_latent_is_connected(name):
    torch.manual_seed(0)
    x_shape = (1, SIDE[name], SIDE[name])
    model = NETWORKS[name](x_shape, 6, 12, 1)
    x, z = torch.rand(3, *x_shape, requires_grad=True), torch.randn(3, 6, requires_grad=True)
    (of_x,) = torch.autograd.grad(model.encoder(x).square().sum(), x)
    (of_z,) = torch.autograd.grad(model.decoder(z).square().sum(), z)
    assert of_x.abs().sum(0).gt(0).all()
    assert of_z.abs().sum(0).gt(0).all()


def test_impossible_layers_are_refused():
    with pytest.raises(ValueError, match=r"widths of layers must be positive, got \[2, 0, 4\]"):
        perceptron([2, 0, 4], "relu")
    with pytest.raises(ValueError, match="activation must be relu or tanh, got gelu"):
        perceptron([2, 4], "gelu")


def test_spectral_norm_bounds_every_layer_of_the_encoder_but_the_last():
    torch.manual_seed(0)
    encoder = Spectral((1, 32, 32), 5, 4, 1).encoder
    for _ in range(30):  # each pass improves the estimates of the largest singular values
        assert encoder(torch.rand(2, 1, 32, 32)).shape == (2, 4)
    encoder.eval()
    layers = [layer for layer in encoder if isinstance(layer, nn.Conv2d | nn.Linear)]
    norms = [torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() for layer in layers]
    assert norms[:-1] == pytest.approx([1.0] * (len(layers) - 1), abs=0.02)
