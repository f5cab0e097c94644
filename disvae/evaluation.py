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
from torch.distributions import Distribution

from disvae import __version__, codes_file, controls
from disvae.build import Built, build, make, make_vae
from disvae.checkpoint import load
from disvae.config import ConfigError, metric_nodes, options
from disvae.dataset import Dataset
from disvae.encoding import Encoding, encode, encoding_of, means, samples
from disvae.interval import with_own_errors
from disvae.metric import Metric, ModelMetric, RunsMetric
from disvae.runs import Run, now
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
    slow: Collection[str]

    @property
    def needs_images(self) -> bool:
        """Whether codes alone will not do."""
        return any(isinstance(metric, ModelMetric) and "images" in metric.needs for metric in self.metrics.values())

    def left_out(self, found: Collection[str]) -> str:
        """A line on the metrics that are not for the data, and on those that take minutes."""
        missing = sorted(self.metrics.keys() - set(found))
        said = [f"not for these data: {', '.join(missing)}"] if missing else []
        if self.slow:
            said.append(f"slow, to be asked for by name: {', '.join(self.slow)}")
        return "; ".join(said).capitalize()

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
        slow=sorted(built.keys() - kept.keys()),
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


def flat(scores: Mapping[str, Any]) -> dict[str, float]:
    """The model's scores and their standard errors by tag, `metric/mig/histogram`, of what scores.json holds."""
    tags = {}
    for name, entries in scores.items():
        for label, entry in entries.items():
            for key, sources in entry["scores"].items():
                if MODEL in sources:
                    tags[f"{name}/{label}/{key}"] = sources[MODEL]["value"]
                    if sources[MODEL]["se"] is not None:
                        tags[f"{name}/{label}/{key}_se"] = sources[MODEL]["se"]
    return tags


def check(built: Built, settings: Mapping[str, Any]) -> None:
    """What cannot be scored as `settings` say is refused before it is trained.

    Raises:
        ConfigError: naming the setting.
    """
    _rows(built, settings["images"])
    if settings["transport"]:
        with torch.no_grad():
            prior = built.module.vae.prior()
        _moved(np.zeros((1, built.module.vae.prior.z_dim), np.float32), prior)


def evaluate(
    run: Run,
    chosen: Chosen,
    settings: Mapping[str, Any],
    *,
    built: Built | None = None,
    device: torch.device | None = None,
) -> str:
    """Score a trained run and keep each result in its folder as it is there; returns what to say of those left out.

    `built` saves reading its dataset again. Without a `device` it is a GPU where there is one, unless the run was told
    to leave it.

    Raises:
        ConfigError: the checkpoint cannot be read, or the folder not written.
    """
    device = device or _device(run.config())
    sources, protocol = _sources(run, settings, chosen.needs_images, built, device)
    name = stage(settings)
    results = score(
        chosen.metrics,
        sources,
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
        done=lambda label, result: _save(run, name, entries({label: result}, chosen.nodes, protocol)),
    )
    scored = run.scores().get(name, {})
    now = {label: scored[label] for label in results}
    write_scores(run.path, run.config(), flat({name: now}), run.metrics(), protocol["step"])
    return chosen.left_out(results)


def _save(run: Run, name: str, found: Mapping[str, Any]) -> None:
    """Put new scores beside those of the same weights that are there, in place of earlier ones of the same name."""
    weights = {entry["protocol"]["checkpoint"] for entry in found.values()}
    scores = {
        tag: {label: entry for label, entry in scored.items() if entry["protocol"].get("checkpoint") in weights}
        for tag, scored in run.scores().items()
    }
    scores[name] = scores.get(name, {}) | dict(found)
    run.save_scores({tag: scored for tag, scored in scores.items() if scored})
    terms = {tag: value for tag, value in run.metrics().items() if not tag.startswith("metric")}
    run.save_metrics(terms | flat(scores))


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
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError(f"{', '.join(chosen.of_runs)}: the same run is named twice")
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
            of_run = protocol | {"checkpoint": _digest(run)}
            _save(run, f"{stage(settings)}-runs", entries({label: result}, chosen.nodes, of_run))


def _device(config: Mapping[str, Any]) -> torch.device:
    """A GPU where there is one, unless the run was told to leave it."""
    return torch.device("cuda" if config["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available() else "cpu")


def _digest(run: Run) -> str:
    return hashlib.sha256(run.last.read_bytes()).hexdigest()[:16]


def restored(config: Mapping[str, Any], checkpoint: Mapping[str, Any], x_shape: tuple[int, ...]) -> VAE:
    """The trained VAE of a run's configuration and checkpoint, without its dataset."""
    vae = make_vae(config, x_shape)
    try:
        weights = checkpoint["state_dict"]
        vae.load_state_dict(
            {key.removeprefix("vae."): value for key, value in weights.items() if key.startswith("vae.")}
        )
    except (RuntimeError, KeyError) as error:
        raise ConfigError("last.ckpt is not of the configuration in config.yaml beside it") from error
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
    codes = {MODEL: arrays["samples" if settings["codes"] == "sample" else "codes"]}
    if "untrained" in settings["controls"]:
        codes["untrained"] = arrays["controls/untrained" + ("_samples" if settings["codes"] == "sample" else "")]
    if not np.isfinite(codes[MODEL]).all() and np.isfinite(arrays["samples"]).all():
        log.warning("q(z|x) has no mean: type score.codes=sample")
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
    return with_controls(encoding, others, settings), protocol | drawn(encoding, settings)


def _moved(codes: np.ndarray, prior: Distribution) -> np.ndarray | None:
    try:
        return to_gaussian(codes, prior)
    except ValueError as error:
        raise ConfigError(f"score.transport=true: {error}") from error


def _transported(codes: Mapping[str, np.ndarray], vae: VAE, prior: Distribution) -> tuple[dict[str, np.ndarray], str]:
    """Codes of encoders in which the prior is a standard normal, and what was done to them."""
    name = type(vae.prior).__name__
    moved = {source: _moved(each, prior) for source, each in codes.items()}
    if any(each is None for each in moved.values()):
        return dict(codes), f"not used: under the prior {name} it would be a shift and a scale"
    said = f"from the prior {name} to the standard normal, latent by latent"
    return {source: each for source, each in moved.items() if each is not None}, said


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
        "constant_latents": int((encoding.codes == encoding.codes[:1]).all(0).sum()),
        "seed": settings["seed"],
        "repeats": settings["repeats"],
        "disvae": __version__,
        "time": now(),
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
    whole = arrays.keys() >= {"codes", "samples", "h", "rows", "factors", "factor_names", "population", "x_shape"}
    return arrays if whole and str(arrays.get("checkpoint")) == _digest(run) else {}


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
    codes: dict[str, np.ndarray] = {}
    if "untrained" in names:
        with torch.random.fork_rng():
            torch.manual_seed(config["seed"])
            start = make_vae(config, dataset.x_shape).to(device)
        h = encode(start, dataset.images, rows)
        codes |= {"untrained": means(start.posterior, h), "untrained_samples": samples(start.posterior, h)}
    if {"pca", "ica"} & set(names):
        of_pixels = controls.pixels(dataset.images, rows.numpy(), config["z_dim"], seed=0)
        codes |= {name: of_pixels[name] for name in ("pca", "ica") if name in names}
    return {f"controls/{name}": array for name, array in codes.items()}
