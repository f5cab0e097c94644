"""Which end of a term or score is the better one, where either is."""

import re
from functools import cache

from disvae.config import conf_dir

TERMS = {
    "elbo": 1,
    "reconstruction": -1,  # -log p(x|z)
    "total_correlation": -1,
    "dimension_wise_kl": -1,
    "kl_qz_pz": -1,
    "kl_pz_qz": -1,
    "mmd": -1,
}
"""Terms of a run by the last part of their tag; of all others, the KL and I(x;z) among them, no end is better."""

SIGNS = {"lower is better": -1, "no end is better": 0}
"""What the YAML of a metric says of its scores, `# lower is better: NAME, NAME; no end is better: NAME`."""


@cache
def exceptions(metric: str) -> dict[str, int] | None:
    """The scores of an option of conf/metric of which more is not better; None where it is no option."""
    path = conf_dir() / "metric" / f"{metric}.yaml"
    if not path.is_file():
        return None
    found: dict[str, int] = {}
    for said, names in re.findall(rf"({'|'.join(SIGNS)}): ([\w, ]+)", path.read_text(encoding="utf-8")):
        found |= dict.fromkeys(names.split(", "), SIGNS[said])
    return found


def better(tag: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither is or nobody knows: `metric/mig/histogram` is 1."""
    parts = tag.split("/")
    if not parts[0].startswith("metric"):
        return TERMS.get(parts[-1], 0)
    found = exceptions(parts[1].partition("-")[0]) if len(parts) > 2 else None  # mig-bins40 is mig
    return 0 if found is None else found.get(parts[2], 1)


@cache
def without_labels(tag: str) -> bool:
    """Whether a score is of the codes alone, as its metric's YAML says."""
    path = conf_dir() / "metric" / f"{tag.split('/')[1].partition('-')[0]}.yaml"
    return path.is_file() and "# without labels" in path.read_text(encoding="utf-8")


def said(tag: str) -> str:
    """The same in words."""
    return {1: "higher is better", -1: "lower is better", 0: "neither end is better"}[better(tag)]


def short(tag: str) -> str:
    """A tag for a heading: `mig/histogram`, `reconstruction`; other stages than the usual ones stay."""
    for usual in ("metric/", "val/overlap/", "val/structure/", "val/"):
        if tag.startswith(usual):
            return tag.removeprefix(usual)
    return tag
