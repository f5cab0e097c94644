"""How a GPU multiplies float32 numbers: exactly, or as TF32, which keeps 10 bits of the mantissa."""

import torch


def set_products(tf32: bool) -> None:
    """For all products and convolutions from here on."""
    # By this name, for Lightning asks by it, and torch refuses to tell where only the newer one was set.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]  # those of the CPU stay exact
    torch.backends.cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"  # type: ignore[attr-defined]
