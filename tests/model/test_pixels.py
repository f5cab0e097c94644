"""The first and last convolutions are the stock layers: same names, same initial values, same numbers and gradients."""

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap

from disvae.model.conv import Conv
from disvae.model.conv_locatello import ConvLocatello
from disvae.model.dcgan import DCGAN
from disvae.model.mathieu_dsprites import MathieuDSprites
from disvae.model.pixels import FromPixels, ToPixels

# stock layer, ours, input shape, constructor arguments
LAYERS = [
    (nn.Conv2d, FromPixels, (5, 1, 16, 16), {"in_channels": 1, "out_channels": 8}),
    (nn.Conv2d, FromPixels, (5, 3, 16, 12), {"in_channels": 3, "out_channels": 8, "bias": False}),
    (nn.ConvTranspose2d, ToPixels, (5, 8, 6, 7), {"in_channels": 8, "out_channels": 1}),
    (nn.ConvTranspose2d, ToPixels, (5, 8, 6, 7), {"in_channels": 8, "out_channels": 2, "bias": False}),
    (nn.ConvTranspose2d, ToPixels, (5, 8, 6, 7), {"in_channels": 8, "out_channels": 6}),
]


def pair(stock, ours, arguments):
    layers = []
    for kind in (stock, ours):
        torch.manual_seed(0)
        layers.append(kind(kernel_size=4, stride=2, padding=1, **arguments))
    return layers


@pytest.mark.parametrize(("stock", "ours", "shape", "arguments"), LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_outputs_and_gradients_are_the_stock_layers(stock, ours, shape, arguments, channels_last):
    layers = pair(stock, ours, arguments)
    states = [layer.state_dict() for layer in layers]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    x = torch.randn(shape)
    x = x.to(memory_format=torch.channels_last) if channels_last else x
    results = []
    for layer in layers:
        own = x.clone().requires_grad_()
        y = layer(own)
        results.append((y, *torch.autograd.grad(y.square().sum(), [own, *layer.parameters()])))
    for of_stock, of_ours in zip(*results, strict=True):
        assert of_ours.shape == of_stock.shape
        assert torch.allclose(of_ours, of_stock, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("settings", [(3, 1, 0), (5, 3, 2), ((2, 4), (2, 1), (0, 1))])
def test_any_kernel_stride_and_padding(settings):
    kernel, stride, padding = settings
    torch.manual_seed(0)
    stock, ours = nn.ConvTranspose2d(4, 1, kernel, stride, padding), ToPixels(4, 1, kernel, stride, padding)
    ours.load_state_dict(stock.state_dict())
    x = torch.randn(2, 4, 5, 6)
    assert torch.allclose(ours(x), stock(x), atol=1e-5)


@pytest.mark.parametrize("arguments", [{"output_padding": 1}, {"dilation": 2}, {"groups": 2, "out_channels": 2}])
def test_what_the_product_does_not_cover_is_the_stock_layers(arguments):
    arguments = {"in_channels": 4, "out_channels": 1} | arguments
    stock, ours = pair(nn.ConvTranspose2d, ToPixels, arguments)
    x = torch.randn(2, 4, 5, 6)
    assert torch.equal(ours(x), stock(x))


@pytest.mark.parametrize(("stock", "ours", "shape", "arguments"), LAYERS)
def test_vmap_over_weights_and_inputs_equals_a_loop(stock, ours, shape, arguments):
    torch.manual_seed(0)
    layers = [ours(kernel_size=4, stride=2, padding=1, **arguments) for _ in range(3)]
    weights = {name: torch.stack([dict(layer.named_parameters())[name] for layer in layers]).detach().requires_grad_()
               for name, _ in layers[0].named_parameters()}  # fmt: skip
    x = torch.randn(3, *shape)
    y = vmap(lambda w, x: functional_call(layers[0], w, (x,)))(weights, x)
    gradients = torch.autograd.grad(y.square().sum(), list(weights.values()))
    for k, layer in enumerate(layers):
        alone = layer(x[k])
        assert torch.allclose(y[k], alone, rtol=1e-4, atol=1e-5)
        for together, own in zip(
            gradients, torch.autograd.grad(alone.square().sum(), list(layer.parameters())), strict=True
        ):
            assert torch.allclose(together[k], own, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("stock", "ours", "shape", "arguments"), LAYERS)
def test_autocast_computes_in_bfloat16_as_the_stock_layer_does(stock, ours, shape, arguments):
    x = torch.randn(shape)
    with torch.autocast("cpu", torch.bfloat16):
        of_stock, of_ours = (layer(x) for layer in pair(stock, ours, arguments))
    assert of_ours.dtype == of_stock.dtype == torch.bfloat16
    assert torch.allclose(of_ours.float(), of_stock.float(), rtol=0.02, atol=0.02)


@pytest.mark.parametrize(("network", "side"), [(Conv, 64), (ConvLocatello, 64), (MathieuDSprites, 64), (DCGAN, 32)])
def test_checkpoint_keys_and_outputs_of_the_networks_are_those_of_stock_layers(network, side):
    torch.manual_seed(0)
    model = network((1, side, side), 6, 12, 1).eval()
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    x, z = torch.rand(3, 1, side, side), torch.randn(3, 6)
    ours = model.encoder(x), model.decoder(z)
    assert isinstance(model.encoder[0], FromPixels)
    assert isinstance(model.decoder[-1], ToPixels)
    model.encoder[0].__class__, model.decoder[-1].__class__ = nn.Conv2d, nn.ConvTranspose2d
    assert model.state_dict().keys() == expected.keys()
    for now, before in zip((model.encoder(x), model.decoder(z)), ours, strict=True):
        assert torch.allclose(now, before, rtol=1e-4, atol=1e-5)
