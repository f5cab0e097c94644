"""Facts about tags: whether higher or lower values are better, which scores need no labels, and what is a detail.

TensorBoard sorts tags by their first part and opens the first two, so `logged` leaves the headline scores in `metric`
and the terms of validations in `val`, and gives the other values first parts that sort later. Imports no torch.
"""

import re
from collections.abc import Mapping

from disvae.config import ConfigError, facts
from disvae.runs.settings import WEIGHTS

MAIN_TERMS = {"elbo": "ELBO", "information": "information", "penalised_likelihood": "penalised likelihood"}
"""Terms that say how well a run is trained, the first of which counts, and what they are called."""

BETTER_TERMS = {
    "elbo": 1,
    "information": 1,  # of InfoGAN's codes
    "penalised_likelihood": 1,  # of a WAE
    "reconstruction": -1,  # -log p(x|z)
    "total_correlation": -1,
    "dimension_wise_kl": -1,
    "kl_qz_pz": -1,
    "kl_pz_qz": -1,
    "mmd": -1,
}
"""Sign of the better end by the last part of a term's tag; other terms, such as KL and I(x;z), have no better end."""

SIGNS = {"higher": 1, "lower": -1, "neither": 0}
"""Sign for each word that a metric's YAML may use, `better: {jemmig: lower}`; the default of a score is higher."""


FIGURES = "val_figure"
"""The first part of the tags of pictures, which are drawn from validation images."""

_DETAILS, _TRAIN = "verbose/", "while_training/"


MINIBATCH = ("_mws", "_mss", "_density_ratio")
"""Endings of terms that are estimated from a minibatch; their bias of many nats would mislead beside unbiased terms."""


def logged(values: Mapping[str, float]) -> dict[str, float]:
    """Return values by the tags under which every logger gets them: `verbose/val/kl/03` for `val/kl/03`."""
    return {_shown_as(tag): value for tag, value in values.items()}


def _shown_as(tag: str) -> str:
    stage, _, name = tag.partition("/")
    if stage == "train":
        return _TRAIN + name
    if stage in ("val", "metric"):
        return tag if is_shown(tag) else _DETAILS + tag
    return _DETAILS + tag if stage.startswith("metric-") or stage == "held_out" else tag  # or what a callback logs


def is_shown(tag: str) -> bool:
    """Return whether a value is shown first: a term as a whole, or the headline score of a metric that needs labels.

    Details are values for one latent or factor, standard errors, bounds, weights and minibatch estimates.
    """
    stage, _, name = tag.partition("/")
    if stage == "val":
        return not re.search(rf"/\d+$|(_se|_limit|{'|'.join(MINIBATCH)}|_minibatch)$", name) and name not in WEIGHTS
    label, _, score = name.partition("/")
    known = facts("metric", label.partition("-")[0]) or {}
    headline = known.get("headline", score)
    return not known.get("unsupervised") and score == headline and "/" not in score and not score.endswith("_se")


def of_several_runs(tag: str) -> bool:
    """Return whether a score compares the seeds of a group, so that its values for them are no independent ones."""
    return tag.partition("/")[0].endswith("-runs")


def measured(tag: str) -> str:
    """Return the name of the value that a logger holds under a tag: `val/kl/03` for `verbose/val/kl/03`."""
    return f"train/{tag.removeprefix(_TRAIN)}" if tag.startswith(_TRAIN) else tag.removeprefix(_DETAILS)


def ends(metric: str) -> dict[str, int] | None:
    """Return the sign of each score that the YAML of a metric lists under `better`, or None if there is no such metric.

    Raises:
        ConfigError: the YAML uses a word that is not in SIGNS.
    """
    known = facts("metric", metric)
    if known is None:
        return None
    words = known.get("better", {})
    for score, word in words.items():
        if word not in SIGNS:
            raise ConfigError(f"conf/metric/{metric}.yaml: better.{score} must be {' or '.join(SIGNS)}, got {word!r}")
    return {score: SIGNS[word] for score, word in words.items()}


def main_term(metrics: Mapping[str, float]) -> str | None:
    """Return the name of the term in `val/*` that says how well a run is trained; None before its last validation."""
    return next((name for name in MAIN_TERMS if f"val/{name}" in metrics), None)


def main_value(metrics: Mapping[str, float], form: str = ".4g") -> str:
    """Return the main term of a run in words, `ELBO -23.4`, or an empty text before its last validation."""
    name = main_term(metrics)
    return "" if name is None else f"{MAIN_TERMS[name]} {metrics[f'val/{name}']:{form}}"


def _metric(tag: str) -> str:
    """Return the metric in the tag of a score: `mig` for `metric/mig-bins40/histogram`."""
    return tag.split("/")[1].partition("-")[0]


def better(tag: str) -> int:
    """Return 1 if higher values are better, -1 if lower values are, 0 if neither is better or the tag is unknown.

    Examples: 1 for `metric/mig/histogram`, -1 for `val/reconstruction`, 0 for `val/kl`.
    """
    parts = tag.split("/")
    if not parts[0].startswith("metric"):
        return BETTER_TERMS.get(parts[-1], 0)
    found = ends(_metric(tag)) if len(parts) > 2 else None
    return 0 if found is None else found.get(parts[2], 1)


def without_labels(tag: str) -> bool:
    """Return whether a score needs no labels, that is, whether its metric's YAML says `unsupervised: true`."""
    return bool((facts("metric", _metric(tag)) or {}).get("unsupervised"))


def enough_images(label: str) -> int:
    """Return from how many images on the scores of a metric are within 0.02 of those of all images; 0 if from any."""
    return int((facts("metric", label.partition("-")[0]) or {}).get("enough_images", 0))


def said(tag: str) -> str:
    """Return in words whether higher or lower values of a tag are better."""
    return {1: "higher is better", -1: "lower is better", 0: "neither end is better"}[better(tag)]


def titled(tag: str) -> str:
    """Return the short name of a tag with an arrow towards better values, `mig/histogram ↑`."""
    return f"{short(tag)} {('↓', '', '↑')[better(tag) + 1]}".strip()


def short(tag: str) -> str:
    """Return the short name of a tag, `mig/histogram` or `reconstruction`; unusual stages are kept."""
    for usual in ("metric/", "val/overlap/", "val/structure/", "val/"):
        if tag.startswith(usual):
            return tag.removeprefix(usual)
    return tag
