"""The encoding of a run and its baselines, computed once and stored in the run folder until the weights change."""

import hashlib
import logging
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from disvae import __version__
from disvae.build import Built, build, make_vae
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.encoding import Encoding, encode, encoding_of, means, samples
from disvae.evaluation import controls
from disvae.evaluation.compute import MODEL, Sources, require_continuous, require_factors_named
from disvae.evaluation.confidence import why_failed
from disvae.runs.checkpoint import load
from disvae.runs.digests import file_digest, is_known, recorded
from disvae.runs.folder import Run
from disvae.runs.provenance import now
from disvae.runs.shared import once
from disvae.system.instantiate import make
from disvae.system.signals import stop_if_asked
from disvae.vae import VAE

log = logging.getLogger(__name__)


def check(built: Built, settings: Mapping[str, Any]) -> None:
    """Check, before training, that the run can be scored with these settings.

    Raises:
        ConfigError: a setting does not fit the run; the message names it.
    """
    _rows(built, settings["images"])
    if settings.get("factors") is not None:
        require_factors_named(built.dataset.factor_names, settings["factors"])
    if settings.get("bins") is not None:
        require_continuous(built.dataset.factors, settings["bins"])
    if settings["transport"]:
        with torch.no_grad():
            prior = built.vae.prior()
        _moved(np.zeros((1, built.vae.prior.z_dim), np.float32), prior)


def device_of(config: Mapping[str, Any]) -> torch.device:
    """Return a GPU if there is one, unless the run has trainer.accelerator=cpu."""
    return torch.device("cuda" if config["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu")


def dataset_of(run: Run, path: str | None = None) -> Dataset:
    """Return the dataset of a run; `path` is the place of its data, if they have moved.

    Raises:
        ConfigError: the data cannot be read, or they are not the data of the run.
    """
    node = run.config()["dataset"]
    if path is not None and "path" not in node:
        raise ConfigError(f"dataset.path={path} has no effect: the images of {run.path} are drawn; leave it out")
    place = path or node.get("path")
    try:
        dataset: Dataset = make(node if path is None else node | {"path": path}, "dataset")
    except ConfigError as error:
        remedy = f"; if the data of {run.path} have moved, type dataset.path=PATH" * bool(place and path is None)
        raise ConfigError(f"{error}{remedy}") from error
    if run.data_checksum() in (None, dataset.checksum):
        return dataset
    if place:
        raise ConfigError(
            f"the data at {place} are not those that {run.path} was trained on; type their place: dataset.path=PATH"
        )
    log.warning("%s was trained on images that differ from those that are drawn or downloaded here", run.path)
    return dataset


def built_of(run: Run, path: str | None = None) -> Built:
    """Return the parts of a run, with initial weights, around its dataset; `path` is its place if it has moved.

    Raises:
        ConfigError: the data cannot be read, or they are not the data of the run.
    """
    return build(run.config(), dataset_of(run, path))


def digest_of(run: Run) -> str:
    """Return a hash of the last checkpoint of a run, which identifies its weights."""
    return hashlib.sha256(run.last.read_bytes()).hexdigest()[:16]


def restored(config: Mapping[str, Any], checkpoint: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """Return the trained VAE of a run from its configuration and checkpoint, without its dataset.

    Raises:
        ConfigError: the checkpoint does not fit the configuration.
    """
    vae = make_vae(config, x_shape)
    try:
        weights = checkpoint["state_dict"]
        vae.load_state_dict(
            {key.removeprefix("vae."): value for key, value in weights.items() if key.startswith("vae.")}
        )
    except RuntimeError as error:
        raise ConfigError("last.ckpt does not fit the configuration in config.yaml beside it") from error
    if checkpoint["global_step"] > config["steps"]:
        raise ConfigError(
            f"last.ckpt is of step {checkpoint['global_step']:,}, but the run has {config['steps']:,} steps"
        )
    return vae


def sources_of(
    run: Run, settings: Mapping[str, Any], needs_images: bool, built: Built | None, device: torch.device
) -> tuple[Sources, dict[str, Any], dict[str, str]]:
    """Return the encodings of the model and its baselines, the protocol that describes them, and what is missing.

    Stored encodings are used if they belong to the last checkpoint. A baseline that cannot be computed is missing; the
    last dict has its reason.
    """
    if not run.last.exists():
        raise ConfigError(f"{run.path} has no last.ckpt: train the run first")
    from disvae.evaluation import codes_file

    config, which, checkpoint = run.config(), settings["images"], load(run.last)
    path = run.path / ("encoding.h5" if which == "validation" else f"encoding-{which}.h5")
    arrays = _kept(run, path)
    wanted = [control for control in settings["controls"] if control != "rotation"]
    missing = [control for control in wanted if f"controls/{control}" not in arrays]
    dataset, failed = None, dict[str, str]()
    if needs_images or missing or not arrays:
        built = built or built_of(run)
        dataset = built.dataset
    x_shape = dataset.x_shape if dataset is not None else tuple(map(int, arrays["x_shape"]))
    vae = restored(config, checkpoint, x_shape).to(device).eval()
    if dataset is not None and built is not None and (missing or not arrays):
        rows = torch.from_numpy(arrays["rows"]) if arrays else _rows(built, which)
        if not arrays:
            encoding = encoding_of(vae, encode(vae, dataset.images, rows), dataset, rows)
            arrays = _arrays(encoding, x_shape) | {"checkpoint": np.array(digest_of(run))}
        found, failed = _controls(missing, config, dataset, rows, device)
        arrays |= found
        try:
            codes_file.write(path, arrays, recorded)
        except ConfigError as error:  # the folder of another user, for example
            log.warning("encodings are not kept, because the folder cannot be written: %s", error)
    with torch.no_grad():
        prior = vae.prior()
    codes = {MODEL: arrays["samples" if settings["codes"] == "sample" else "codes"]}
    if "controls/untrained" in arrays and "untrained" in settings["controls"]:
        codes["untrained"] = arrays["controls/untrained" + ("_samples" if settings["codes"] == "sample" else "")]
    if not np.isfinite(codes[MODEL]).all() and np.isfinite(arrays["samples"]).all():
        log.warning("q(z|x) has no mean, so scores of its codes fail: type score.codes=sample")
    transported = None
    if settings["transport"]:
        codes, transported = _transported(codes, vae, prior)
    encoding = Encoding(
        codes=codes[MODEL],
        factors=arrays["factors"],
        factor_names=tuple(map(str, arrays["factor_names"])),
        population=int(arrays["population"]) or None,
        samples=arrays["samples"],
        h=torch.from_numpy(arrays["h"]).to(device),
        posterior=vae.posterior,
        prior=prior,
        vae=vae,
        images=None if dataset is None else dataset.images,
        rows=arrays["rows"],
        class_names={} if dataset is None else dataset.class_names,
    )
    trained_on = which == "validation" and config["split"]["validation"] == 0
    state = run.status()["state"]
    protocol = {
        "images": "training" if trained_on else which,
        "codes": settings["codes"],
        "transport": transported,
        "checkpoint": str(arrays["checkpoint"]),
        "step": checkpoint["global_step"],
        "state": state,
    }
    others = arrays | {f"controls/{source}": each for source, each in codes.items()}
    return with_controls(encoding, others, settings), protocol | drawn(encoding, settings), failed


def _moved(codes: np.ndarray, prior: Distribution) -> np.ndarray | None:
    from disvae.evaluation.transport import to_gaussian

    try:
        return to_gaussian(codes, prior)
    except ValueError as error:
        raise ConfigError(f"score.transport=true: {error}") from error


def _transported(codes: Mapping[str, np.ndarray], vae: VAE, prior: Distribution) -> tuple[dict[str, np.ndarray], str]:
    """Return the codes after a map from the prior to the standard normal, and a description of the map."""
    name = type(vae.prior).__name__
    moved = {source: _moved(each, prior) for source, each in codes.items()}
    if any(each is None for each in moved.values()):
        return dict(codes), f"not used: for the prior {name} the map would only shift and scale"
    said = f"from the prior {name} to the standard normal, latent by latent"
    return {source: each for source, each in moved.items() if each is not None}, said


def with_controls(encoding: Encoding, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Sources:
    """Return the encoding and its baselines: arrays named `controls/NAME`, and random rotations."""
    sources: dict[str, list[Encoding]] = {MODEL: [encoding]}
    for control in settings["controls"]:
        if control == "rotation":
            codes = [controls.rotation(encoding.codes, seed) for seed in range(settings["repeats"])]
        elif f"controls/{control}" in arrays:
            codes = [arrays[f"controls/{control}"]]
        else:
            continue
        sources[control] = [replace(encoding, codes=other) for other in codes]
    return sources


def drawn(encoding: Encoding, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of the protocol that does not depend on where the codes come from."""
    return {
        "samples": len(encoding.codes),
        "population": encoding.population,
        "latents": encoding.codes.shape[1],
        "constant_latents": int((encoding.codes == encoding.codes[:1]).all(0).sum()),
        "seed": settings["seed"],
        "repeats": settings["repeats"],
        "disvae": __version__,
        "time": now(),
    }


def _kept(run: Run, path: Path) -> dict[str, np.ndarray]:
    """Return the stored arrays if they are complete and belong to the last checkpoint, or else an empty dict."""
    if not path.exists():
        return {}
    from disvae.evaluation import codes_file

    try:
        arrays = codes_file.read_codes(path)
        if str(arrays.get("checkpoint")) != digest_of(run):
            return {}
        wrong = _misshapen(arrays, run.config()["z_dim"])
        if not is_known(path, file_digest(path)):
            wrong = "it is not what was written (damaged?)"
    except ConfigError as error:
        wrong = str(error)
    if wrong:
        log.warning("encoding the images again, because of %s: %s", path, wrong)
    return {} if wrong else arrays


def _misshapen(arrays: Mapping[str, np.ndarray], z_dim: int) -> str:
    """Return which stored array is missing or has the wrong shape for a run of `z_dim` latents, or an empty text."""
    N = len(arrays.get("rows", ()))
    shapes: dict[str, tuple[int | None, ...]] = {
        "rows": (N,),
        "codes": (N, z_dim),
        "samples": (N, z_dim),
        "factor_names": (None,),
        "factors": (N, len(arrays.get("factor_names", ()))),
        "population": (),
        "x_shape": (3,),
        **{name: (N, z_dim) for name in arrays if name.startswith("controls/")},
    }
    for name, shape in shapes.items():
        found = arrays[name].shape if name in arrays else ()
        if len(found) != len(shape) or any(n not in (None, m) for n, m in zip(shape, found, strict=True)):
            return f"{name} must have the shape {shape}, got {found}"
    return "" if "h" in arrays and len(arrays["h"]) == N else f"h must have {N} rows"


def _rows(built: Built, which: str) -> Tensor:
    if which == "all":
        return torch.arange(len(built.dataset.images))
    rows = built.data.held_out_rows if which == "held_out" else built.data.validation_rows
    if len(rows) == 0:
        raise ConfigError(f"score.images={which}: this run has no {which} images; type score.images=validation")
    return rows


def _arrays(encoding: Encoding, x_shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    assert encoding.h is not None
    assert encoding.samples is not None
    assert encoding.rows is not None
    return {
        "codes": encoding.codes,
        "samples": encoding.samples,
        "h": encoding.h.cpu().numpy(),
        "rows": encoding.rows,
        "factors": encoding.factors,
        "factor_names": np.array(encoding.factor_names, dtype=str),
        "population": np.array(encoding.population or 0),
        "x_shape": np.array(x_shape),
    }


def _controls(
    names: Collection[str], config: Mapping[str, Any], dataset: Dataset, rows: Tensor, device: torch.device
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the codes (N, D) of the untrained network, with the initial weights of the run, and of the pixels.

    Where the pixels have no components, the second dict has the reason by name.
    """
    codes: dict[str, np.ndarray] = {}
    failed: dict[str, str] = {}
    images = (dataset.checksum, rows.numpy(), torch.get_num_threads())
    if "untrained" in names:
        with torch.random.fork_rng():
            torch.manual_seed(config["seed"])
            start = make_vae(config, dataset.x_shape).to(device)

        def untrained() -> dict[str, np.ndarray]:
            h = encode(start, dataset.images, rows)
            return {"untrained": means(start.posterior, h), "untrained_samples": samples(start.posterior, h)}

        weights = {name: weight.cpu().numpy() for name, weight in start.state_dict().items()}
        codes |= once(untrained, (images, weights, config["model"], config["posterior"], str(device)))
    if {"pca", "ica"} & set(names):
        chosen = [name for name in ("pca", "ica") if name in names]
        try:
            z_dim = config["z_dim"]
            of_pixels = once(lambda: controls.pixels(dataset.images, rows.numpy(), z_dim, seed=0), (images, z_dim))
            codes |= {name: of_pixels[name] for name in chosen}
        except Exception as error:  # a missing baseline must not make a trained run a failed one
            stop_if_asked()
            failed |= dict.fromkeys(chosen, why_failed(error))
    return {f"controls/{name}": array for name, array in codes.items()}, failed
