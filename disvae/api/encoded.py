"""Images from outside a run as the codes, parameters, reconstruction and KL that its VAE gives them."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from disvae.api.trained import TrainedVAE
from disvae.config import ConfigError
from disvae.data import array_file, image_array, pictures
from disvae.data.checksum import visible_files
from disvae.dataset import Images
from disvae.encoding import ROWS, encode, means, samples
from disvae.estimators import kl


def read_images(
    path: Path, x_shape: tuple[int, ...], *, skip_broken: bool = False
) -> tuple[Images, dict[str, np.ndarray]]:
    """Return the images of a file or a folder of pictures, resized to `x_shape`, and arrays that describe them.

    The arrays are `names` (N,) of pictures, or `factors` and `factor_names` if a file has them (`labels` are factors).

    Raises:
        ConfigError: the images cannot be read; the message says why and what to do.
    """
    if len(x_shape) != 3 or x_shape[0] not in (1, 3):
        raise ConfigError(f"{path} cannot be encoded: the run's data are no pictures, but {x_shape}")
    C, H, W = x_shape
    size = H if H == W else None
    blocks: list[np.ndarray] = []
    try:
        if path.is_dir():
            names = sorted(visible_files(path, pictures.PATTERNS))
            if not names:
                raise ConfigError(f"{path} must hold pictures ({', '.join(pictures.PATTERNS)}), got none")
            read = pictures.decode(path, names, size=size, channels=C, skip_broken=skip_broken, write=blocks.append)
            arrays = {"names": np.array([names[i] for i in read.kept], dtype=str)}
        else:
            stored, others = image_array.layout(path)
            image_array.read(path, stored, size=size, channels=C, write=blocks.append)
            arrays = array_file.read_arrays(path, image_array.ADVICE, others & {"factors", "labels", "factor_names"})
            labels = arrays.pop("labels", None)
            if labels is not None:
                arrays.setdefault("factors", labels)
    except ValueError as error:
        raise error if isinstance(error, ConfigError) else ConfigError(str(error).replace("dataset.", "")) from error
    pixels = np.concatenate(blocks)
    if pixels.shape[1:] != x_shape:
        raise ConfigError(f"{path}: images must be {W} x {H} pixels, got {pixels.shape[3]} x {pixels.shape[2]}")
    return Images(torch.from_numpy(pixels), x_shape), arrays


@torch.no_grad()
def encoded(trained: TrainedVAE, images: Images) -> dict[str, np.ndarray]:
    """Return what the VAE says of N images, the same at every call.

    `codes` (N, D) are the means of q(z|x), `samples` (N, D) a sample of each, `parameters/NAME` its parameters;
    `reconstruction` (N,) is -log p(x|z) of that sample and `kl` (N,) is KL(q(z|x) || p(z)), both in nats; a run without
    an ELBO has neither.
    """
    vae, rows = trained.vae, torch.arange(len(images))
    h = encode(vae, images, rows)
    arrays = {"codes": means(vae.posterior, h), "samples": samples(vae.posterior, h)}
    z, prior = torch.from_numpy(arrays["samples"]).to(h.device), vae.prior()
    parts: dict[str, list[np.ndarray]] = {}
    for block in rows.split(ROWS):
        qz_x, z_block, x = vae.posterior(h[block]), z[block], images.take(block).to(h.device)
        found = {}
        if not vae.without_elbo:
            found = {"reconstruction": -vae.decode(z_block).log_prob(x), "kl": kl(qz_x, prior, z_block)}
        for name, values in {**found, **_inside("parameters", parameters_of(qz_x).items())}.items():
            parts.setdefault(name, []).append(values.float().cpu().numpy())
    return arrays | {name: np.concatenate(values) for name, values in parts.items()}


def _inside(group: str, values: Iterable[tuple[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{group}/{name}": value for name, value in values}


def parameters_of(qz_x: Distribution) -> dict[str, Tensor]:
    """Return the parameters of posteriors (N,), as torch names them: `loc` and `scale` (N, D) of a Gaussian.

    A distribution without tensors of its own, such as a mixture, is described by its `mean`.
    """
    base = qz_x
    while isinstance(base, Independent):
        base = base.base_dist
    given = vars(base)  # arg_constraints also names tensors that are computed from those that were given
    return {name: given[name] for name in base.arg_constraints if name in given} or {"mean": qz_x.mean}
