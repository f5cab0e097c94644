"""A trained VAE as files that other programs run: encoder and decoder as torch.export or ONNX, weights as safetensors.

The encoder takes images x (N, C, H, W) and returns the parameters of q(z|x), `loc` (N, D) and `scale` (N, D) for most
posteriors. The decoder takes codes z (N, D) and returns the mean of p(x|z) (N, C, H, W). N is any number.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from disvae.api.trained import TrainedVAE
from disvae.config import ConfigError
from disvae.evaluation.encode_images import parameters_of
from disvae.runs.atomic import replacing
from disvae.system.imports import require
from disvae.vae import VAE

CLOSE = {"rtol": 1e-3, "atol": 1e-4}
"""How closely the outputs of a file must equal those of the VAE; other kernels round differently."""


class Encoder(nn.Module):
    """The encoder with the posterior; its outputs have the names in `names`."""

    def __init__(self, vae: VAE, x: Tensor) -> None:
        super().__init__()
        self.vae = vae
        self.names = list(parameters_of(vae.encode(x)))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters of q(z|x) for images (N, C, H, W)."""
        return tuple(parameters_of(self.vae.encode(x)).values())


class Decoder(nn.Module):
    """The decoder with the likelihood."""

    names = ("mean",)

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the mean of p(x|z) for codes (N, D)."""
        return (self.vae.decode(z).mean,)


def export(trained: TrainedVAE, folder: Path, formats: list[str]) -> list[Path]:
    """Write the networks of a trained VAE into a folder, compare their outputs with its own, and return the files.

    Raises:
        ConfigError: a package is missing, a network cannot be exported, or its outputs differ.
    """
    files = []
    for name in formats:
        files += FORMATS[name](trained, folder)
    return files


def _networks(trained: TrainedVAE) -> dict[str, tuple[Encoder | Decoder, str, Tensor]]:
    """Return encoder and decoder, each with the name of its input and two rows of it."""
    generator = torch.Generator().manual_seed(0)
    x, z = (torch.rand(2, *shape, generator=generator) for shape in (trained.x_shape, (trained.vae.prior.z_dim,)))
    with torch.no_grad():
        return {"encoder": (Encoder(trained.vae, x), "x", x), "decoder": (Decoder(trained.vae), "z", z)}


def _program(network: nn.Module, name: str, rows: Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad():
        return torch.export.export(network, (rows,), dynamic_shapes={name: {0: torch.export.Dim("N", min=1)}})


def _pt2(trained: TrainedVAE, folder: Path) -> list[Path]:
    files = []
    for part, (network, name, rows) in _networks(trained).items():
        path = folder / f"{part}.pt2"
        program = _program(network, name, rows)
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.export.save(program, file)
        loaded = torch.export.load(path).module()
        _compare(path, network, rows, lambda rows, loaded=loaded: loaded(rows))
        files.append(path)
    return files


def _onnx(trained: TrainedVAE, folder: Path) -> list[Path]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "format=onnx")
    import onnxruntime

    files = []
    for part, (network, name, rows) in _networks(trained).items():
        path = folder / f"{part}.onnx"
        program = torch.onnx.export(
            _program(network, name, rows), input_names=[name], output_names=network.names, dynamo=True, verbose=False
        )
        with replacing(path) as temporary:
            program.save(temporary)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        _compare(path, network, rows, lambda rows, session=session, name=name: session.run(None, {name: rows.numpy()}))
        files.append(path)
    return files


def _safetensors(trained: TrainedVAE, folder: Path) -> list[Path]:
    require("safetensors", "format=safetensors")
    from safetensors.torch import load_file, save_file

    path = folder / "weights.safetensors"
    weights = {name: tensor.contiguous() for name, tensor in trained.vae.state_dict().items()}
    about = {"config": json.dumps(trained.config), "x_shape": json.dumps(trained.x_shape)}
    with replacing(path) as temporary:
        save_file(weights, temporary, about)
    if any(not torch.equal(tensor, weights[name]) for name, tensor in load_file(path).items()):
        raise ConfigError(f"{path} does not hold the weights that were written: check the disk")
    return [path]
