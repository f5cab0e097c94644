"""Scores of arrays of codes, from Python."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from disvae.api.isolation import kept_random_numbers, usual_defaults
from disvae.config import ConfigError
from disvae.evaluation.settings import scoring_settings
from disvae.system.overrides import as_override

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from disvae.evaluation.confidence import Score


@usual_defaults()
@kept_random_numbers()
def score(
    codes: "ArrayLike",
    factors: "ArrayLike | None" = None,
    metrics: Sequence[str] | Mapping[str, Mapping[str, Any]] = (),
    *,
    factor_names: Sequence[str] | None = None,
    **settings: Any,
) -> "dict[str, dict[str, Score]]":
    """Return the scores of codes (N, D) against factors (N, K) by name and source: `scores["mig/histogram"]["model"]`.

    A Score has a `value`, its standard error `se` and the ends `low` and `high` of its 95 % interval. The sources are
    `model`, the baseline `rotation` (the same codes, randomly rotated) and, where it is known, `chance`. `metrics` are
    names, or names with settings: {"mig": {"bins": 40}}; by default all that fit the data and take seconds. The
    settings are `repeats`, `seed` and the others of `python -m disvae.score --help`, without `score.`.

    Raises:
        ConfigError: an argument is wrong, or a metric in `metrics` does not fit the data.
    """
    overrides = [f"score.{key}={as_override(value)}" for key, value in settings.items()]
    if metrics:
        overrides.append(f"metric=[{','.join(metrics)}]")
    if isinstance(metrics, Mapping):
        overrides += [
            f"metric.{name}.{key}={as_override(value)}" for name, of in metrics.items() for key, value in of.items()
        ]
    nodes, _, how = scoring_settings(overrides)
    import numpy as np

    from disvae.evaluation.confidence import Score
    from disvae.evaluation.given_codes import given_encoding, score_given
    from disvae.evaluation.run_scores import choose_metrics

    arrays = {"codes": np.asarray(codes)}
    if factors is not None:
        arrays["factors"] = np.asarray(factors)
    if factor_names is not None:
        arrays["factor_names"] = np.array(factor_names, dtype=str)
    chosen = choose_metrics(nodes, [] if nodes else "all").of_one()
    encoding = given_encoding(arrays, "codes and factors", how["bins"])
    scores = {}
    for label, result in score_given(encoding, arrays, chosen, how).items():
        if "model" in result.failed and label in chosen.named:
            raise ConfigError(f"metric {label}: {result.failed['model']}")
        for name, of_source in result.scores.items():
            chance = {"chance": Score(result.chance[name])} if name in result.chance else {}
            scores[f"{label}/{name}"] = of_source | chance
    return scores
