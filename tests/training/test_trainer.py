"""How Lightning's trainer is set up for a run."""

import torch

from disvae.training.trainer import set_products


def test_lightning_can_ask_for_the_precision_of_products():
    try:
        set_products(tf32=True)
        assert torch.get_float32_matmul_precision() == "high"
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
        assert torch.backends.cudnn.conv.fp32_precision == "tf32"
        assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"
    finally:
        set_products(tf32=False)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.cuda.matmul.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "ieee"
