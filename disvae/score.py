"""Score codes that any program wrote to an HDF5 or NPZ file.

    python -m disvae.score codes.h5
    python -m disvae.score codes=codes.npz metric=mig,dci score.repeats=20 json=scores.json

The file holds these arrays; only `codes` is required. Each row is a sample.

  codes (N, D)          the latent codes
  factors (N, K)        the classes of the factors of variation: whole numbers or strings; score.bins=20 divides
                        other numbers into 20 classes
  factor_names (K,)     the names of the factors
  controls/NAME (N, D)  baselines: other codes of the same samples, scored beside `codes`
  population            the number of images in the factor grid from which the N samples were drawn

json=PATH writes the scores with all details. The exit status is 2 for a wrong argument, 130 for Ctrl-C and 143 for
SIGTERM.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.evaluation.settings import scoring_settings
from disvae.runs.atomic import write_atomically
from disvae.system.command import command, paths, target
from disvae.system.help import score_help
from disvae.system.imports import loading

log = logging.getLogger(__name__)

OF_RUNS = ("score.images", "score.codes", "score.transport")
"""Settings that apply to runs only, because they say how images become codes."""


def score(arguments: Sequence[str]) -> None:
    """Score the file in the arguments, print a table and, with json=PATH, write the scores.

    Raises:
        ConfigError: an argument or an array is wrong; the message says what it must be.
    """
    targets = [target(argument, "json") for argument in arguments if argument.startswith("json=")]
    files, overrides = paths([argument for argument in arguments if not argument.startswith("json=")], "codes")
    if len(files) != 1 or len(targets) > 1:
        raise ConfigError("name one file of codes: python -m disvae.score codes.h5")
    for override in overrides:
        if override.partition("=")[0] in OF_RUNS or override.startswith("figure"):
            raise ConfigError(f"{override} applies to runs only; leave it out to score the codes of a file")
    chosen, _, how = scoring_settings(overrides)
    scores = score_file(files[0], chosen, how)
    from disvae.runs.terminal import console, print_scores

    print_scores(scores, console(), details=str(targets[0]) if targets else "json=PATH")
    if not any(entry["scores"] for scored in scores.values() for entry in scored.values()):
        raise ConfigError("no metric could be computed: see the reasons above")
    if targets:
        write_atomically(targets[0], json.dumps(scores, indent=1) + "\n")


def score_file(path: Path, nodes: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores of the codes in a file, with the structure of scores.json.

    The metrics are those of `nodes`, or all fast metrics of codes if `nodes` is empty.

    Raises:
        ConfigError: the file cannot be read, or its arrays do not fit together.
    """
    with loading():
        from disvae.evaluation import codes_file
        from disvae.evaluation.given_codes import given_encoding, score_given
        from disvae.evaluation.run_encodings import drawn
        from disvae.evaluation.run_scores import choose_metrics, entries, stage

    arrays = codes_file.read_codes(
        path, without=("names", "parameters/")
    )  # there may be a name for each of many images
    encoding = given_encoding(arrays, str(path), settings["bins"])
    chosen = choose_metrics(nodes, [] if nodes else "all").of_one()
    results = score_given(encoding, arrays, chosen, settings)
    protocol = {"images": str(path), "codes": "as they are"} | drawn(encoding, settings)
    absent = [name for name in settings["controls"] if name != "rotation" and f"controls/{name}" not in arrays]
    if absent:
        log.warning("no controls/%s in %s: scored without it", ", controls/".join(absent), path)
    return {stage(settings): entries(results, chosen.nodes, protocol)}


def main() -> None:
    """Run the command line that scores files."""
    command(lambda: score_help(__doc__ or "", OF_RUNS), score, kept="scored")


if __name__ == "__main__":
    main()
