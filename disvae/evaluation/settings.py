"""Settings of the scoring commands, composed from conf/evaluate.yaml. Imports no torch."""

from collections.abc import Sequence
from typing import Any

from disvae.config import ConfigError, bracketed, check_lists, check_names, check_score
from disvae.system.compose import composing
from disvae.system.overrides import check_forms, translated


def scoring_settings(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the nodes of metric=[...], the nodes of figure=[...] and the settings `score.*` after the overrides.

    Raises:
        ConfigError: an override has a key or a value that does not exist.
    """
    from hydra import compose
    from omegaconf import OmegaConf

    overrides = list(map(bracketed, overrides))
    check_forms(overrides)
    check_lists(overrides)
    check_names(overrides)
    with translated(overrides):
        with composing():
            cfg = compose("evaluate", overrides=list(overrides))
        tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(tree, dict)
    if tree.keys() - {"metric", "figure", "score"}:
        raise ConfigError(
            f"{', '.join(map(str, tree.keys() - {'metric', 'figure', 'score'}))} is not a setting; see --help"
        )
    check_score(tree)
    return tree.get("metric", {}), tree.get("figure", {}), tree["score"]
