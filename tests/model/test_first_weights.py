"""The first weights of the networks have the variances and the biases that their option promises."""

import pytest
import torch

from disvae.model.conv import Conv
from disvae.model.conv_locatello import ConvLocatello
from disvae.model.mathieu_dsprites import MathieuDSprites
from disvae.model.mlp import MLP

SIZES = ((1, 64, 64), 10, 20, 1)
HIDDEN = {
    "encoder_hidden": [300],
    "decoder_hidden": [300],
    "encoder_activation": "relu",
    "decoder_activation": "relu",
}


@pytest.mark.parametrize(("model", "more"), [(Conv, {}), (ConvLocatello, {}), (MathieuDSprites, {}), (MLP, HIDDEN)])
@pytest.mark.parametrize("init", ["torch", "glorot", "he"])
def test_weights_have_the_variance_of_their_option(model, more, init):
    torch.manual_seed(0)
    built = model(*SIZES, **more, init=init)
    for layer in built.modules():
        if not hasattr(layer, "weight") or layer.weight.numel() < 4000:
            continue
        # of a transposed convolution, whose weight is (inputs, outputs, H, W), PyTorch takes the outputs for inputs
        outputs, inputs = layer.weight[:, :, ...].shape[:2]
        area = layer.weight[0, 0].numel()
        variance = {
            "torch": 1 / (3 * inputs * area),
            "glorot": 2 / ((inputs + outputs) * area),
            "he": 2 / (inputs * area),
        }
        assert layer.weight.var().item() == pytest.approx(variance[init], rel=0.05)
        assert (layer.bias == 0).all().item() == (init == "glorot")


def test_an_unknown_option_is_named():
    with pytest.raises(ValueError, match="init must be torch, glorot or he, got xavier"):
        Conv(*SIZES, init="xavier")
