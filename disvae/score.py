"""Score codes and factors that any program wrote: `codes` (N, D), `factors` (N, K), `factor_names` (K,) in HDF5 or NPZ.

    python -m disvae.score codes.h5
    python -m disvae.score codes=codes.npz metric=[mig,dci] score.repeats=20 json=scores.json

Rows are samples; factors hold class indices and may be missing. `controls/NAME` (N, D), other codes of the same rows,
are scored beside them; `population` says of how many images of a factor grid these are a sample. json=PATH writes the
scores with their details. Exit status: 2 for what cannot be, 130 and 143 for Ctrl-C and SIGTERM.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.evaluation.settings import scoring_settings
from disvae.runs.atomic import write_atomically
from disvae.system.command import command, paths
from disvae.system.help import score_help
from disvae.system.imports import loading

log = logging.getLogger(__name__)

OF_RUNS = ("score.images", "score.codes", "score.transport")
"""Settings that say how a run's images become codes."""


def score(arguments: Sequence[str]) -> None:
    """Score the file that the arguments name, print a table and, with json=PATH, write it.

    Raises:
        ConfigError: naming the argument, or the array and what it must be.
    """
    targets = [argument.removeprefix("json=") for argument in arguments if argument.startswith("json=")]
    if (targets and not Path(targets[0]).parent.is_dir()) or targets == [""]:
        raise ConfigError(f"json={targets[0]} must be a file in a folder that is there")
    files, overrides = paths([argument for argument in arguments if not argument.startswith("json=")], "codes")
    if len(files) != 1 or len(targets) > 1:
        raise ConfigError("name one file of codes: python -m disvae.score codes.h5")
    for override in overrides:
        if override.partition("=")[0] in OF_RUNS or override.startswith("figure"):
            raise ConfigError(f"{override} is for runs; a file's codes are scored as they are")
    chosen, _, how = scoring_settings(overrides)
    scores = score_file(files[0], chosen, how)
    from disvae.runs.terminal import console, print_scores

    print_scores(scores, console(), details=targets[0] if targets else "json=PATH")
    if not any(entry["scores"] for scored in scores.values() for entry in scored.values()):
        raise ConfigError("nothing could be scored")
    if targets:
        write_atomically(Path(targets[0]), json.dumps(scores, indent=1) + "\n")


def score_file(path: Path, nodes: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Scores, as scores.json has them, of a file's codes by the metrics of `nodes`, or all that codes alone allow.

    Raises:
        ConfigError: the file cannot be read, or holds no codes with a row for each sample.
    """
    with loading():
        import numpy as np
        import torch

        from disvae.encoding import Encoding
        from disvae.evaluation import codes_file
        from disvae.evaluation.compute import compute_scores
        from disvae.evaluation.run_encodings import drawn, with_controls
        from disvae.evaluation.run_scores import choose_metrics, entries, stage
        from disvae.statistics.checked_codes import checked

    arrays = codes_file.read_codes(path)
    if "codes" not in arrays:
        raise ConfigError(f"{path} must hold an array `codes` (N, D), got {', '.join(arrays) or 'nothing'}")
    try:
        codes, _, _ = checked(arrays["codes"], None, (), 0, 1)
        factors = arrays.get("factors", np.empty((len(codes), 0), np.int64))
        factors = factors[:, None] if factors.ndim == 1 else factors
        given = arrays.get("factor_names")
        if given is not None and given.shape != factors.shape[1:]:
            raise ValueError(f"factor_names must be {factors.shape[1]} names, got an array of shape {given.shape}")
        _, _, names = checked(codes, factors, [] if given is None else [str(name) for name in given], 0, 1)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    population = arrays.get("population", np.array(0))
    if population.ndim or population.dtype.kind not in "iu" or 0 < population < len(codes):
        raise ConfigError(f"{path}: population must be a whole number of at least {len(codes)}, got {population}")
    for control in [name for name in arrays if name.startswith("controls/")]:
        if arrays[control].ndim != 2 or len(arrays[control]) != len(codes):
            raise ConfigError(f"{path}: {control} must be ({len(codes)}, D), got {arrays[control].shape}")
    chosen = choose_metrics(nodes, [] if nodes else "all").of_one()
    encoding = Encoding(codes, factors, tuple(names), int(population) or None)
    results = compute_scores(
        chosen.metrics,
        with_controls(encoding, arrays, settings),
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
    )
    protocol = {"images": str(path), "codes": "as they are"} | drawn(encoding, settings)
    absent = [name for name in settings["controls"] if name != "rotation" and f"controls/{name}" not in arrays]
    if absent:
        log.warning("no controls/%s in %s: left out", ", controls/".join(absent), path)
    return {stage(settings): entries(results, chosen.nodes, protocol)}


def main() -> None:
    """The command line."""
    command(lambda: score_help(__doc__ or "", OF_RUNS), score, kept="scored")


if __name__ == "__main__":
    main()
