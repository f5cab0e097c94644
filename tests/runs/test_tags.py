"""Which end of a tag is better, which scores read no factors, and that no comment decides it."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from disvae import config
from disvae.config import ConfigError, conf_dir, options
from disvae.runs.tags import better, said, short, without_labels
from disvae.sweep.packing import packs_on_cpu
from disvae.system.help import description

SCORES = {
    "active_units": {"count": 0},
    "aggregate_posterior": {
        "mutual_information": 0,
        "total_correlation": -1,
        "dimension_wise_kl": -1,
        "kl_qz_pz": -1,
        "kl_pz_qz": -1,
        "mmd": -1,
    },
    "class_magnitude": {"hoyer": 1, "separation": 1},
    "component_nmi": {"nmi": 1, "purity": 1, "components_used": 0},
    "dci": {"disentanglement": 1, "completeness": 1, "informativeness": 1},
    "dci_forest": {"disentanglement": 1, "completeness": 1, "informativeness": 1},
    "explicitness": {"one_vs_rest": 1, "multinomial": 1},
    "factor_vae": {"held_out": 1},
    "gaussian_tc": {"total_correlation": -1, "correlation": -1},
    "higgins": {"standardised": 1, "raw": 1},
    "infomec": {"modularity": 1, "compactness": 1, "explicitness": 1},
    "irs": {"irs": 1},
    "jemmig": {"jemmig": -1, "normalised": 1},  # nats that are missing to a perfect code, and 1 less their share
    "label_accuracy": {"knn": 1, "linear": 1},
    "log_likelihood": {"iwae": 1, "elbo": 1, "gap": -1, "effective_samples": 0},
    "mig": {"histogram": 1, "quantile": 1, "quantile_corrected": 1},
    "mig_analytic": {"mig": 1},
    "modularity": {"all_latents": 1, "weighted": 1},
    "sap": {"classification": 1, "classification_raw": 1, "linear": 1},
    "sparsity": {"hoyer": 1, "hoyer_raw": 1},
    "udr": {"spearman": 1, "lasso": 1, "informative": 0},
}
SIGNS = {f"metric/{metric}/{score}": sign for metric, signs in SCORES.items() for score, sign in signs.items()}
SIGNS |= {
    "metric/mig-bins40/histogram": 1,
    "metric-all/jemmig/jemmig": -1,
    "metric/jemmig/jemmig/shape": -1,  # a detail goes with its score
    "metric/new/score": 0,  # of no option of conf/metric nobody knows
    "val/elbo": 1,
    "held_out/elbo": 1,
    "val/reconstruction": -1,
    "val/kl": 0,
    "val/overlap/mutual_information": 0,
    "val/structure/total_correlation": -1,
    "val/structure/mmd": -1,
    "val/loss": 0,  # of different objectives: not one quantity
}
UNSUPERVISED = {"active_units", "aggregate_posterior", "gaussian_tc", "log_likelihood", "sparsity", "udr"}


def _decisions() -> tuple[dict[str, int], set[str], set[tuple[str, str]]]:
    """Return the better end of every tag, the metrics without labels, and the models and objectives that pack."""
    return (
        {tag: better(tag) for tag in SIGNS},
        {metric for metric in options("metric") if without_labels(f"metric/{metric}/score")},
        {(m, o) for m in options("model") for o in options("objective") if packs_on_cpu(m, o)},
    )


def _forget() -> None:
    config._facts.cache_clear()
    config._read.cache_clear()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Yield a copy of conf/ that is read in its place."""
    folder = tmp_path / "conf"
    shutil.copytree(conf_dir(), folder)
    monkeypatch.setattr(config, "conf_dir", lambda: folder)
    _forget()
    yield folder
    _forget()


@pytest.mark.parametrize(("tag", "sign"), SIGNS.items())
def test_which_end_is_better(tag, sign):
    assert better(tag) == sign


@pytest.mark.parametrize("metric", SCORES)
def test_which_scores_read_no_factors(metric):
    assert without_labels(f"metric-all/{metric}-bins40/score") == (metric in UNSUPERVISED)


def test_other_words_in_comments_change_no_decision_only_the_help(copied):
    words = "lower is better: histogram; higher is better: jemmig; without labels; packs on a CPU; not packed on a CPU"
    before = _decisions()
    _forget()
    for path in copied.rglob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r"(^|(?<= ))# (?!@package).*", f"# {words}", text, flags=re.MULTILINE), encoding="utf-8")
    assert description(copied / "metric" / "jemmig.yaml") == words
    assert _decisions() == before


def test_the_key_of_a_yaml_decides(copied):
    (copied / "metric" / "mig.yaml").write_text("_target_: disvae.metric.mig.MIG\nbetter: {histogram: lower}\n")
    assert better("metric/mig/histogram") == -1
    assert said("metric/mig/histogram") == "lower is better"


def test_a_word_that_names_no_end_is_refused(copied):
    (copied / "metric" / "mig.yaml").write_text("_target_: disvae.metric.mig.MIG\nbetter: {histogram: less}\n")
    with pytest.raises(ConfigError, match=r"mig\.yaml: better\.histogram must be higher .* got 'less'"):
        better("metric/mig/histogram")


def test_short_names_leave_out_the_usual_stages():
    assert short("metric/mig/histogram") == "mig/histogram"
    assert short("val/structure/total_correlation") == "total_correlation"
    assert short("metric-all/sap/linear") == "metric-all/sap/linear"
