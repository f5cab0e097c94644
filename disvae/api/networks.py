"""A trained VAE as files that other programs run: encoder and decoder as torch.export or ONNX, weights as safetensors.

The encoder takes images x (N, C, H, W) and returns the parameters of q(z|x), which are `loc` (N, D) and `scale` (N, D)
for most posteriors. The decoder takes codes z (N, D) and returns the mean of p(x|z) (N, C, H, W). N is any number.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from disvae.api.encoded import parameters_of
from disvae.api.trained import TrainedVAE
from disvae.config import ConfigError
from disvae.runs.atomic import not_written, replacing
from disvae.system.imports import require
from disvae.vae import VAE

CLOSE = 1e-4
"""How far an output of a file may be from the VAE's, relative to the largest; other kernels round differently."""


class Encoder(nn.Module):
    """The encoder with the posterior: images (N, C, H, W) to the parameters of q(z|x)."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the parameters of q(z|x), in the order of `parameters_of`."""
        return tuple(parameters_of(self.vae.encode(x)).values())


class Decoder(nn.Module):
    """The decoder with the likelihood: codes (N, D) to the mean of p(x|z)."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, z: Tensor) -> tuple[Tensor, ...]:
        """Return the mean of p(x|z), as a tuple of one."""
        return (self.vae.decode(z).mean,)


@dataclass(frozen=True)
class Network:
    """Encoder or decoder, with the names of its input and outputs and some rows of input."""

    name: str
    module: nn.Module
    input: str
    outputs: list[str]
    rows: Tensor

    def program(self) -> torch.export.ExportedProgram:
        """Return the network as torch.export records it, for any number of rows."""
        return torch.export.export(
            self.module, (self.rows,), dynamic_shapes={self.input: {0: torch.export.Dim("N", min=1)}}
        )

    def compare(self, path: Path, run: Callable[[Tensor], Sequence[Any]]) -> None:
        """Compare the outputs of the file at `path` with the network's, for all rows and for one.

        Raises:
            ConfigError: the outputs differ; the message says by how much.
        """
        for rows in (self.rows, self.rows[:1]):
            for own, other in zip(self.module(rows), run(rows), strict=True):
                apart = (own - torch.as_tensor(other)).abs().max().item()
                if not apart <= CLOSE * max(1.0, own.abs().max().item()):
                    raise ConfigError(f"{path}: the outputs differ from the trained VAE's by {apart:g}; do not use it")


@torch.no_grad()
def export_networks(trained: TrainedVAE, folder: Path, formats: Sequence[str]) -> list[Path]:
    """Write a trained VAE, on the CPU, into a folder in each of `formats`, and compare what the files compute.

    Raises:
        ConfigError: a package is missing, a file cannot be written, a part cannot be exported, or outputs differ.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise not_written(folder, error) from error
    return [path for name in formats for path in WRITERS[name](trained, folder)]


def networks(trained: TrainedVAE) -> list[Network]:
    """Return the encoder and the decoder of a trained VAE, with three random rows of input each."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(3, *trained.x_shape, generator=generator)
    z = torch.randn(3, trained.vae.prior.z_dim, generator=generator)
    names = list(parameters_of(trained.vae.encode(x)))
    return [
        Network("encoder", Encoder(trained.vae).eval(), "x", names, x),
        Network("decoder", Decoder(trained.vae).eval(), "z", ["mean"], z),
    ]


@contextmanager
def _file(path: Path) -> Iterator[Path]:
    """Yield a temporary path, and turn what torch raises for a network that it cannot export into one line."""
    try:
        with warnings.catch_warnings(), replacing(path) as temporary:
            warnings.simplefilter("ignore", FutureWarning)  # of torch, about itself
            yield temporary
    except OSError as error:
        raise not_written(path, error) from error
    except Exception as error:  # what a plugin's network does may be unknown to torch.export in many ways
        reason = str(error).strip().partition("\n")[0]
        raise ConfigError(f"{path.name} cannot be exported: {type(error).__name__}: {reason}") from error


def _pt2(trained: TrainedVAE, folder: Path) -> Iterator[Path]:
    for network in networks(trained):
        path = folder / f"{network.name}.pt2"
        with _file(path) as temporary, temporary.open("wb") as file:
            torch.export.save(network.program(), file)
        with path.open("rb") as file:
            network.compare(path, torch.export.load(file).module())
        yield path


def _onnx(trained: TrainedVAE, folder: Path) -> Iterator[Path]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "format=onnx")
    import onnxruntime

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it names the packages that it could use
    for network in networks(trained):
        path = folder / f"{network.name}.onnx"
        with _file(path) as temporary:
            program = torch.onnx.export(
                network.program(), input_names=[network.input], output_names=network.outputs, verbose=False
            )
            assert program is not None
            program.save(temporary)
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])

        def run(rows: Tensor, session: Any = session, name: str = network.input) -> Any:
            return session.run(None, {name: rows.numpy()})

        network.compare(path, run)
        yield path


def _safetensors(trained: TrainedVAE, folder: Path) -> Iterator[Path]:
    require("safetensors", "format=safetensors")
    from safetensors.torch import load_file, save_file

    path = folder / "weights.safetensors"
    weights = {name: tensor.contiguous() for name, tensor in trained.vae.state_dict().items()}
    with _file(path) as temporary:
        save_file(weights, temporary, {"config": json.dumps(trained.config), "x_shape": json.dumps(trained.x_shape)})
    found = load_file(path)
    if found.keys() != weights.keys() or any(not torch.equal(found[name], weights[name]) for name in found):
        raise ConfigError(f"{path} does not hold the weights that were written; do not use it")
    yield path


WRITERS = {"pt2": _pt2, "onnx": _onnx, "safetensors": _safetensors}
"""The writers of each format: torch.export's programs, ONNX, and the weights with the run's configuration."""
