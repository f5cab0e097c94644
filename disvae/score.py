"""Score codes and factors that any program wrote: `codes` (N, D), `factors` (N, K), `factor_names` (K,) in HDF5 or NPZ.

    python -m disvae.score codes.h5
    python -m disvae.score codes.npz metric=[mig,dci] score.repeats=20 json=scores.json

Rows are samples; factors hold class indices. Exit status 2 for what cannot be.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from disvae.config import ConfigError
from disvae.evaluate import command, paths, settings
from disvae.runs import write_atomically


def score(arguments: Sequence[str]) -> None:
    """Score the file that the arguments name, print a table and, with json=PATH, write it.

    Raises:
        ConfigError: naming the argument, or the array and what it must be.
    """
    targets = [argument.removeprefix("json=") for argument in arguments if argument.startswith("json=")]
    files, overrides = paths([argument for argument in arguments if not argument.startswith("json=")], "codes")
    if len(files) != 1 or len(targets) > 1:
        raise ConfigError("name one file of codes: python -m disvae.score codes.h5")
    for override in overrides:
        if override.partition("=")[0] in ("score.images", "score.codes", "score.transport"):
            raise ConfigError(f"{override} is for runs; a file's codes are scored as they are")
    chosen, how = settings(overrides)
    scores = score_file(files[0], chosen, how)
    from disvae.table import console, print_scores

    print_scores(scores, console(), details=targets[0] if targets else "json=PATH")
    if targets:
        write_atomically(Path(targets[0]), json.dumps(scores, indent=1) + "\n")


def score_file(path: Path, nodes: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Scores, as scores.json has them, of a file's codes by the metrics of `nodes`, or all that codes alone allow.

    Raises:
        ConfigError: the file cannot be read, or holds no codes with a row for each sample.
    """
    import numpy as np
    import torch

    from disvae import codes_file
    from disvae.encoding import Encoding
    from disvae.evaluation import choose, drawn, entries, stage, with_controls
    from disvae.scoring import score

    arrays = codes_file.read(path)
    if "codes" not in arrays:
        raise ConfigError(f"{path} must hold an array `codes` (N, D), got {', '.join(arrays) or 'nothing'}")
    codes = arrays["codes"]
    factors = arrays.get("factors", np.empty((len(codes), 0), np.int64))
    factors = factors[:, None] if factors.ndim == 1 else factors
    if codes.ndim != 2 or factors.ndim != 2 or len(codes) != len(factors):
        raise ConfigError(
            f"{path}: codes must be (N, D) and factors (N, K), a row a sample, got {codes.shape} and {factors.shape}"
        )
    names = tuple(map(str, arrays.get("factor_names", range(factors.shape[1]))))
    chosen = choose(nodes, [] if nodes else "all").of_one()
    encoding = Encoding(codes, factors, names, int(arrays.get("population", 0)) or None)
    results = score(
        chosen.metrics,
        with_controls(encoding, arrays, settings),
        repeats=settings["repeats"],
        seed=settings["seed"],
        named=chosen.named,
        processes=torch.get_num_threads(),
    )
    protocol = {"images": str(path), "codes": "as they are"} | drawn(encoding, settings)
    return {stage(settings): entries(results, chosen.nodes, protocol)}


def main() -> None:
    """The command line."""
    command(__doc__, score)


if __name__ == "__main__":
    main()
