"""A run's scores: its images encoded once, the codes kept in its folder, every metric and control read from them."""

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from disvae import codes_file, controls
from disvae.build import Built, build, make, make_vae
from disvae.checkpoint import load
from disvae.config import ConfigError, metric_nodes, options
from disvae.dataset import Dataset
from disvae.encoding import Encoding, encode, encoding_of, means
from disvae.interval import with_own_errors
from disvae.metric import Metric, ModelMetric, RunsMetric
from disvae.runs import Run
from disvae.scoring import MODEL, Result, Sources, score
from disvae.summary import write_scores
from disvae.transport import to_gaussian
from disvae.vae import VAE

log = logging.getLogger(__name__)

COMPARED_IMAGES = 10_000
"""Images that several runs encode to be compared."""


@dataclass(frozen=True)
class Chosen:
    """Metrics by label, their nodes, and the labels that somebody asked for by name."""

    metrics: dict[str, Metric | ModelMetric]
    of_runs: dict[str, RunsMetric]
    nodes: dict[str, dict[str, Any]]
    named: Collection[str]

    @property
    def needs_images(self) -> bool:
        """Whether codes alone will not do."""
        return any(isinstance(metric, ModelMetric) and "images" in metric.needs for metric in self.metrics.values())

    def of_one(self) -> "Chosen":
        """The same for a single run.

        Raises:
            ConfigError: a metric of several runs was asked for.
        """
        for label in self.of_runs.keys() & set(self.named):
            raise ConfigError(
                f"metric={label} is of several runs: python -m disvae.evaluate RUN RUN ... metric={label}"
            )
        return self


def choose(chosen: Mapping[str, Any], final: str | list[str], *, by_default: bool = False) -> Chosen:
    """The metrics of metric=[...] and of `final`: a list, or all that take seconds.

    Metrics that are chosen `by_default` were typed by nobody.

    Raises:
        ConfigError: a setting that is not one.
    """
    everything = final == "all"
    nodes = metric_nodes(chosen, options("metric") if everything else final)
    typed = {} if by_default else chosen
    named = set(metric_nodes(typed, [] if everything else final))
    built = {label: make(node, f"metric.{label.partition('-')[0]}") for label, node in nodes.items()}
    kept = {label: metric for label, metric in built.items() if label in named or not metric.slow}
    return Chosen(
        metrics={label: metric for label, metric in kept.items() if not isinstance(metric, RunsMetric)},
        of_runs={label: metric for label, metric in kept.items() if isinstance(metric, RunsMetric)},
        nodes=nodes,
        named=named,
    )


def stage(settings: Mapping[str, Any]) -> str:
    """The first part of the scores' tags: `metric`, and what of `score` is not as usual."""
    parts = [
        settings["images"] if settings["images"] != "validation" else "",
        "sample" if settings["codes"] == "sample" else "",
        "transport" if settings["transport"] else "",
        f"seed{settings['seed']}" if settings["seed"] else "",
    ]
    return "-".join(["metric", *filter(None, parts)])


def flat(results: Mapping[str, Result], name: str) -> dict[str, float]:
    """The model's scores and their standard errors by tag: `NAME/mig/histogram`."""
    tags = {}
    for label, result in results.items():
        for key, sources in result.scores.items():
            if MODEL in sources:
                tags[f"{name}/{label}/{key}"] = sources[MODEL].value
                se = sources[MODEL].se
                if se is not None:
                    tags[f"{name}/{label}/{key}_se"] = se
    return tags


def evaluate(
    run: Run,
    chosen: Chosen,
    settings: Mapping[str, Any],
    *,
    built: Built | None = None,
    device: torch.device | None = None,
) -> dict[str, Result]:
    """Score a trained run and keep the results in its folder; `built` saves reading its dataset again.

    Without a `device` it is a GPU where there is one, unless the run was told to leave it.

    Raises:
        ConfigError: the checkpoint cannot be read, or the folder not written.
    """
    device = device or _device(run.config())
    sources, protocol = _sources(run, settings, chosen.needs_images, built, device)
    results = score(
        chosen.metrics,
        sources,
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
    )
    name = stage(settings)
    _save(run, name, results, entries(results, chosen.nodes, protocol))
    write_scores(run.path, run.config(), flat(results, name), run.metrics(), protocol["step"])
    return results


def _save(run: Run, name: str, results: Mapping[str, Result], found: Mapping[str, Any]) -> None:
    """Put new scores beside those of the same weights that are there."""
    weights = {entry["protocol"]["checkpoint"] for entry in found.values()}
    kept = {
        tag: {label: entry for label, entry in scored.items() if entry["protocol"]["checkpoint"] in weights}
        for tag, scored in run.scores().items()
    }
    run.save_scores(kept | {name: kept.get(name, {}) | dict(found)})
    run.save_metrics(run.metrics() | flat(results, name))


def entries(
    results: Mapping[str, Result], nodes: Mapping[str, Any], protocol: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Results as scores.json has them: each with the metric's settings and how it was computed."""
    return {
        label: {**asdict(result), "settings": nodes[label], "protocol": dict(protocol)}
        for label, result in results.items()
    }


def compare(runs: Sequence[Run], chosen: Chosen, settings: Mapping[str, Any]) -> None:
    """Metrics of several runs, from their codes of the same images: a sample of the whole dataset by score.seed.

    Raises:
        ConfigError: the runs are of different datasets, or a metric cannot compare them.
    """
    configs = [run.config() for run in runs]
    if any(config["dataset"] != configs[0]["dataset"] for config in configs):
        raise ConfigError(f"{', '.join(chosen.of_runs)}: the runs must be of one dataset with the same settings")
    dataset = make(configs[0]["dataset"], "dataset")
    order = np.random.default_rng(settings["seed"]).permutation(len(dataset.images))
    rows = torch.from_numpy(np.sort(order[:COMPARED_IMAGES]))
    encodings = []
    for run, config in zip(runs, configs, strict=True):
        vae = restored(config, load(run.last), dataset.x_shape).to(_device(config)).eval()
        encodings.append(encoding_of(vae, encode(vae, dataset.images, rows), dataset, rows))
    protocol = {"runs": [str(run.path) for run in runs], "images": "all", "samples": len(rows)}
    for label, metric in chosen.of_runs.items():
        try:
            of_each = metric(encodings, seed=settings["seed"])
        except ValueError as error:
            raise ConfigError(f"metric {label}: {error}") from error
        for run, values in zip(runs, of_each, strict=True):
            result = Result()
            result.add(MODEL, with_own_errors(values))
            results = {label: result}
            of_run = protocol | {"checkpoint": _digest(run)}
            _save(run, f"{stage(settings)}-runs", results, entries(results, chosen.nodes, of_run))


def _device(config: Mapping[str, Any]) -> torch.device:
    """A GPU where there is one, unless the run was told to leave it."""
    return torch.device("cuda" if config["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu")


def _digest(run: Run) -> str:
    return hashlib.sha256(run.last.read_bytes()).hexdigest()[:16]


def restored(config: Mapping[str, Any], checkpoint: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """The trained VAE of a run's configuration and checkpoint, without its dataset."""
    vae = make_vae(config, x_shape)
    weights = checkpoint["state_dict"]
    vae.load_state_dict({key.removeprefix("vae."): value for key, value in weights.items() if key.startswith("vae.")})
    return vae


def _sources(
    run: Run, settings: Mapping[str, Any], needs_images: bool, built: Built | None, device: torch.device
) -> tuple[Sources, dict[str, Any]]:
    """The encodings of the model and its controls, kept ones where they are good, and the protocol that says which."""
    if not run.last.exists():
        raise ConfigError(f"{run.path} holds no last.ckpt: train the run first")
    config, which = run.config(), settings["images"]
    path = run.path / ("encoding.h5" if which == "validation" else f"encoding-{which}.h5")
    arrays = _kept(run, path)
    wanted = [control for control in settings["controls"] if control != "rotation"]
    missing = [control for control in wanted if f"controls/{control}" not in arrays]
    dataset = None
    if needs_images or missing or not arrays:
        built = built or build(config)
        dataset = built.dataset
    x_shape = dataset.x_shape if dataset is not None else tuple(map(int, arrays["x_shape"]))
    checkpoint = load(run.last)
    vae = restored(config, checkpoint, x_shape).to(device).eval()
    if dataset is not None and built is not None and (missing or not arrays):
        rows = torch.from_numpy(arrays["rows"]) if arrays else _rows(built, which)
        if not arrays:
            encoding = encoding_of(vae, encode(vae, dataset.images, rows), dataset, rows)
            arrays = _arrays(encoding, x_shape) | {"checkpoint": np.array(_digest(run))}
        arrays |= _controls(missing, config, dataset, rows, device)
        codes_file.write(path, arrays)
    with torch.no_grad():
        prior = vae.prior()
    encoding = Encoding(
        codes=arrays["samples" if settings["codes"] == "sample" else "codes"],
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
    )
    encoding, transported = _transported(encoding) if settings["transport"] else (encoding, None)
    protocol = {
        "images": which,
        "codes": settings["codes"],
        "transport": transported,
        "checkpoint": str(arrays["checkpoint"]),
        "step": checkpoint["global_step"],
    }
    return with_controls(encoding, arrays, settings), protocol | drawn(encoding, settings)


def _transported(encoding: Encoding) -> tuple[Encoding, str]:
    """Codes in which the prior is a standard normal, and what was done to them."""
    assert encoding.vae is not None
    assert encoding.prior is not None
    name = type(encoding.vae.prior).__name__
    try:
        moved = to_gaussian(encoding.codes, encoding.prior)
    except ValueError as error:
        raise ConfigError(f"score.transport=true: {error}") from error
    if moved is None:
        return encoding, f"not used: under the prior {name} it would be a shift and a scale"
    return replace(encoding, codes=moved), f"from the prior {name} to the standard normal, latent by latent"


def with_controls(encoding: Encoding, arrays: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> Sources:
    """The encoding and its controls: `controls/NAME` of the arrays where they are there, and random rotations."""
    sources: dict[str, list[Encoding]] = {MODEL: [encoding]}
    for control in settings["controls"]:
        codes = [arrays[name] for name in (f"controls/{control}",) if name in arrays]
        if control == "rotation":
            codes = [controls.rotation(encoding.codes, seed) for seed in range(settings["repeats"])]
        if codes:
            sources[control] = [replace(encoding, codes=other) for other in codes]
    return sources


def drawn(encoding: Encoding, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a protocol that codes from anywhere have."""
    return {
        "samples": len(encoding.codes),
        "population": encoding.population,
        "latents": encoding.codes.shape[1],
        "constant_latents": int((np.ptp(encoding.codes, axis=0) == 0).sum()),
        "seed": settings["seed"],
        "repeats": settings["repeats"],
    }


def _kept(run: Run, path: Path) -> dict[str, np.ndarray]:
    """The arrays in the folder, if they are this checkpoint's and whole."""
    if not path.exists():
        return {}
    try:
        arrays = codes_file.read(path)
    except ConfigError as error:
        log.warning("encoding the images again: %s", error)
        return {}
    return arrays if str(arrays.get("checkpoint")) == _digest(run) else {}


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
) -> dict[str, np.ndarray]:
    """Codes (N, D) of the run's own network before its first step, and of the pixels."""
    codes = {}
    if "untrained" in names:
        with torch.random.fork_rng():
            torch.manual_seed(config["seed"])
            start = make_vae(config, dataset.x_shape).to(device)
        codes["untrained"] = means(start.posterior, encode(start, dataset.images, rows))
    if {"pca", "ica"} & set(names):
        of_pixels = controls.pixels(dataset.images, rows.numpy(), config["z_dim"], seed=0)
        codes |= {name: of_pixels[name] for name in ("pca", "ica") if name in names}
    return {f"controls/{name}": array for name, array in codes.items()}
