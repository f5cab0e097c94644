"""The scores of a run: the choice of metrics, their tags, and the update of scores.json and metrics.json."""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from disvae.build import Built
from disvae.config import ConfigError, options
from disvae.config import nodes as nodes_of
from disvae.data.factors import is_continuous
from disvae.encoding import encode, encoding_of
from disvae.evaluation.compute import MODEL, Result, compute_scores, fits
from disvae.evaluation.confidence import with_own_errors
from disvae.evaluation.run_encodings import dataset_of, device_of, digest_of, restored, sources_of
from disvae.metric import Metric, ModelMetric, RunsMetric
from disvae.runs.checkpoint import load
from disvae.runs.digests import Damaged
from disvae.runs.folder import Run
from disvae.runs.tensorboard import write_scores
from disvae.system.instantiate import make

log = logging.getLogger(__name__)

COMPARED_IMAGES = 10_000
"""Number of images that runs encode for a metric of several runs."""


@dataclass(frozen=True)
class Chosen:
    """The chosen metrics by label, their nodes, the labels that a user asked for by name, and slow ones left out."""

    metrics: dict[str, Metric | ModelMetric]
    of_runs: dict[str, RunsMetric]
    nodes: dict[str, dict[str, Any]]
    named: Collection[str]
    slow: Collection[str]

    @property
    def needs_images(self) -> bool:
        """Return whether a metric needs images in addition to codes."""
        return any(isinstance(metric, ModelMetric) and "images" in metric.needs for metric in self.metrics.values())

    def fitting(self, factors: np.ndarray, settings: Mapping[str, Any]) -> list[str]:
        """Return the labels of the metrics that factors (N, K) let compute, and of those asked for by name."""
        K = len(settings.get("factors") or factors.T)
        continuous = settings.get("bins") is None and any(map(is_continuous, factors.T))
        return [label for label, metric in self.metrics.items() if label in self.named or fits(metric, K, continuous)]

    def left_out(self, found: Collection[str]) -> str:
        """Return a line on metrics that do not fit the data, and on slow metrics that were not asked for by name."""
        missing = sorted(self.metrics.keys() - set(found))
        said = [f"do not fit these data: {', '.join(missing)}"] if missing else []
        if self.slow:
            said.append(f"slow, computed only if asked for by name: {', '.join(self.slow)}")
        return "; ".join(said).capitalize()

    def of_one(self) -> "Chosen":
        """Return these metrics if they can be computed for a single run.

        Raises:
            ConfigError: a metric of several runs was asked for by name.
        """
        for label in self.of_runs.keys() & set(self.named):
            raise ConfigError(
                f"metric={label} needs several runs: python -m disvae.evaluate RUN RUN ... metric={label}"
            )
        return self


def choose_metrics(chosen: Mapping[str, Any], final: str | list[str], *, by_default: bool = False) -> Chosen:
    """Return the metrics of metric=[...] and of `final`, which is a list or `all` metrics that take seconds.

    With `by_default`, the user did not type metric=[...], so its metrics do not count as asked for by name.

    Raises:
        ConfigError: a metric or one of its settings is wrong.
    """
    everything = final == "all"
    nodes = nodes_of("metric", chosen, options("metric") if everything else final)
    typed = {} if by_default else chosen
    named = set(nodes_of("metric", typed, [] if everything else final))
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
    """Return the first part of the tags of scores: `metric`, then the settings that differ from the default."""
    parts = [
        settings["images"] if settings["images"] != "validation" else "",
        "sample" if settings["codes"] == "sample" else "",
        "transport" if settings["transport"] else "",
        f"bins{settings['bins']}" if settings.get("bins") else "",
        re.sub(r"\W", "_", "_".join(settings.get("factors") or ())),
        f"seed{settings['seed']}" if settings["seed"] else "",
    ]
    return "-".join(["metric", *filter(None, parts)])


def score_tags(scores: Mapping[str, Any]) -> dict[str, float]:
    """Return the scores of the model and their standard errors by tag, `metric/mig/histogram`, from scores.json."""
    tags = {}
    for name, entries in scores.items():
        for label, entry in entries.items():
            for key, sources in entry["scores"].items():
                if MODEL in sources:
                    tags[f"{name}/{label}/{key}"] = sources[MODEL]["value"]
                    if sources[MODEL]["se"] is not None:
                        tags[f"{name}/{label}/{key}_se"] = sources[MODEL]["se"]
    return tags


def evaluate_run(
    run: Run,
    chosen: Chosen,
    settings: Mapping[str, Any],
    *,
    built: Built | None = None,
    device: torch.device | None = None,
) -> str:
    """Score a trained run, write each result to its folder as soon as it is complete, and say what was left out.

    `built` avoids reading the dataset again. The default device is a GPU if there is one, unless the run has
    trainer.accelerator=cpu.

    Raises:
        ConfigError: the checkpoint cannot be read, or the folder cannot be written.
    """
    device = device or device_of(run.config())
    sources, protocol, unavailable = sources_of(run, settings, chosen.needs_images, built, device)
    name, encoding = stage(settings), sources[MODEL][0]
    if settings.get("bins") is None:
        for factor, column in zip(encoding.factor_names, encoding.factors.T, strict=True):
            if is_continuous(column):
                log.warning("factor %s is continuous: type score.bins=20 to score it in 20 classes", factor)

    def save(label: str, result: Result) -> None:
        if isinstance(chosen.metrics[label], Metric):  # metrics of a model have no baselines
            result.failed |= unavailable
        _save(run, name, entries({label: result}, chosen.nodes, protocol), coming=chosen.metrics)

    results = compute_scores(
        chosen.metrics,
        sources,
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
        bins=settings.get("bins"),
        factors=settings.get("factors"),
        done=save,
    )
    write_scores(run.path, run.metrics(), protocol["step"])
    return chosen.left_out(results)


def _save(run: Run, name: str, found: Mapping[str, Any], coming: Collection[str] = ()) -> None:
    """Add new scores to the stored ones; they replace older scores with the same name.

    Scores of other weights are dropped with a warning. The labels in `coming` get no warning, because they follow.
    If the stored scores are damaged, the new ones replace all of them.
    """
    weights = {entry["protocol"]["checkpoint"] for entry in found.values()}
    scores: dict[str, dict[str, Any]] = {}
    dropped = []
    try:
        stored = run.scores()
    except Damaged as error:
        log.warning("all scores stored before are dropped: %s", error)
        stored = {}
    for tag, scored in stored.items():
        scores[tag] = {label: of for label, of in scored.items() if of["protocol"].get("checkpoint") in weights}
        dropped += [
            f"{tag}/{label}"
            for label in scored.keys() - scores[tag].keys()
            if tag != name or label not in {*found, *coming}
        ]
    if dropped:
        log.warning(
            "dropped from %s, because last.ckpt has changed: %s",
            run.path / "scores.json",
            ", ".join(sorted(dropped)),
        )
    scores[name] = scores.get(name, {}) | dict(found)
    run.save_scores({tag: scored for tag, scored in scores.items() if scored})
    terms = {tag: value for tag, value in run.metrics().items() if not tag.startswith("metric")}
    run.save_metrics(terms | score_tags(scores))


def entries(
    results: Mapping[str, Result], nodes: Mapping[str, Any], protocol: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return results with the structure of scores.json, with the settings of each metric and the protocol."""
    return {
        label: {**asdict(result), "settings": nodes[label], "protocol": dict(protocol)}
        for label, result in results.items()
    }


def _dataset_identity(run: Run, config: Mapping[str, Any]) -> str:
    node = {key: value for key, value in config["dataset"].items() if key != "path"}
    return f"{run.data_checksum() or config['dataset'].get('path')} {sorted(node.items())}"


def score_together(runs: Sequence[Run], chosen: Chosen, settings: Mapping[str, Any], path: str | None = None) -> None:
    """Compute metrics of several runs from codes of the same images, which score.seed draws from the whole dataset.

    `path` is the place of the data, if they have moved.

    Raises:
        ConfigError: the runs have different datasets, or a metric cannot compare them.
    """
    configs = [run.config() for run in runs]
    if len({_dataset_identity(run, config) for run, config in zip(runs, configs, strict=True)}) > 1:
        raise ConfigError(f"{', '.join(chosen.of_runs)}: the runs must have the same images, with the same settings")
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError(f"{', '.join(chosen.of_runs)}: the same run is named twice")
    dataset = dataset_of(runs[0], path)
    order = np.random.default_rng(settings["seed"]).permutation(len(dataset.images))
    rows = torch.from_numpy(np.sort(order[:COMPARED_IMAGES]))
    encodings = []
    for run, config in zip(runs, configs, strict=True):
        vae = restored(config, load(run.last), dataset.x_shape).to(device_of(config)).eval()
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
            of_run = protocol | {"checkpoint": digest_of(run)}
            with run.lock():
                _save(run, f"{stage(settings)}-runs", entries({label: result}, chosen.nodes, of_run))
