"""Which end of a term or score is the better one, where either is: the one place that knows."""

HIGHER = {
    "elbo",
    "mig",
    "mig_analytic",
    "factor_vae",
    "higgins",
    "sap",
    "dci",
    "dci_forest",
    "irs",
    "infomec",
    "modularity",
    "explicitness",
    "sparsity",
    "class_magnitude",
    "label_accuracy",
    "component_nmi",
    "log_likelihood",
    "udr",
    "jemmig/normalised",
}
"""Terms, and metrics whose scores are the better the higher."""

LOWER = {
    "reconstruction",  # -log p(x|z)
    "total_correlation",
    "correlation",
    "dimension_wise_kl",
    "kl_qz_pz",
    "kl_pz_qz",
    "mmd",
    "jemmig/jemmig",
    "log_likelihood/gap",
}
"""Terms and scores that are the better the lower."""

NEITHER = {"kl", "mutual_information", "count", "active_units", "components_used", "effective_samples", "informative"}
"""Known, and no better at either end."""


def better(tag: str) -> int:
    """1 where higher is better, -1 where lower is, 0 where neither is or nobody knows: `metric/mig/histogram` is 1."""
    parts = tag.split("/")
    label, name = "", parts[-1]
    if parts[0].startswith("metric") and len(parts) > 2:
        label, name = parts[1].partition("-")[0], parts[2]  # mig-bins40 is mig
    for known in (f"{label}/{name}", name, label):
        for sign, tags in ((1, HIGHER), (-1, LOWER), (0, NEITHER)):
            if known in tags:
                return sign
    return 0


def said(tag: str) -> str:
    """The same in words."""
    return {1: "higher is better", -1: "lower is better", 0: "neither end is better"}[better(tag)]


def short(tag: str) -> str:
    """A tag for a heading: `mig/histogram`, `reconstruction`; other stages than the usual ones stay."""
    for usual in ("metric/", "val/overlap/", "val/structure/", "val/"):
        if tag.startswith(usual):
            return tag.removeprefix(usual)
    return tag
