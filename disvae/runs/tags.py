"""Which end of a term or score is the better one, and which scores read no factors. Imports no torch."""

from functools import cache

from disvae.config import ConfigError, facts

BETTER_TERMS = {
    "elbo": 1,
    "reconstruction": -1,  # -log p(x|z)
    "total_correlation": -1,
    "dimension_wise_kl": -1,
    "kl_qz_pz": -1,
    "kl_pz_qz": -1,
    "mmd": -1,
}
"""Terms of a run by the last part of their tag; of all others, the KL and I(x;z) among them, no end is better."""

SIGNS = {"higher": 1, "lower": -1, "neither": 0}
"""Words for the better end of a score in the YAML of its metric, `better: {jemmig: lower}`; unnamed scores: higher."""


@cache
def ends(metric: str) -> dict[str, int] | None:
    """Return the sign of each score that the YAML of a metric names under `better`; None where it is no metric.

    Raises:
        ConfigError: the YAML has another word than those of SIGNS.
    """
    known = facts("metric", metric)
    if known is None:
        return None
    words = known.get("better", {})
    for score, word in words.items():
        if word not in SIGNS:
            raise ConfigError(f"conf/metric/{metric}.yaml: better.{score} must be {' or '.join(SIGNS)}, got {word!r}")
    return {score: SIGNS[word] for score, word in words.items()}


def _metric(tag: str) -> str:
    """Return the metric of a score's tag, `mig` of `metric/mig-bins40/histogram`."""
    return tag.split("/")[1].partition("-")[0]


def better(tag: str) -> int:
    """Return 1 where higher is better, -1 where lower is, 0 where neither is or nobody knows.

    Of `metric/mig/histogram` it is 1, of `val/reconstruction` -1, of `val/kl` 0.
    """
    parts = tag.split("/")
    if not parts[0].startswith("metric"):
        return BETTER_TERMS.get(parts[-1], 0)
    found = ends(_metric(tag)) if len(parts) > 2 else None
    return 0 if found is None else found.get(parts[2], 1)


def without_labels(tag: str) -> bool:
    """Return whether a score reads no factors, as the YAML of its metric says by `unsupervised: true`."""
    return bool((facts("metric", _metric(tag)) or {}).get("unsupervised"))


def said(tag: str) -> str:
    """Return in words which end of a tag is better."""
    return {1: "higher is better", -1: "lower is better", 0: "neither end is better"}[better(tag)]


def titled(tag: str) -> str:
    """Return a tag with an arrow to its better end, `mig/histogram ↑`."""
    return f"{short(tag)} {('↓', '', '↑')[better(tag) + 1]}".strip()


def short(tag: str) -> str:
    """A tag for a heading: `mig/histogram`, `reconstruction`; other stages than the usual ones stay."""
    for usual in ("metric/", "val/overlap/", "val/structure/", "val/"):
        if tag.startswith(usual):
            return tag.removeprefix(usual)
    return tag
