"""Score a trained run again, with other metrics, images or seeds; with several runs, also their agreement.

    python -m disvae.evaluate outputs/sprites/RUN
    python -m disvae.evaluate outputs/sprites/RUN metric=[dci,mig] metric.mig.bins=40 score.images=all
    python -m disvae.evaluate outputs/sprites/RUN outputs/sprites/RUN metric=udr

The folder is all that is needed. Its scores.json and metrics.json take the new scores beside the old. Exit status 2 for
what cannot be.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from disvae import config as knobs
from disvae.config import ConfigError
from disvae.runs import Run


def settings(overrides: Sequence[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The nodes of metric=[...], and how to score, from conf/evaluate.yaml and a command line's overrides.

    Raises:
        ConfigError: an override that names nothing there is.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(knobs.conf_dir()), version_base="1.3"):
            cfg = compose("evaluate", overrides=list(overrides))
        tree = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{' '.join(overrides)}: {str(error).splitlines()[0]}; see --help") from error
    assert isinstance(tree, dict)
    knobs.check_score(tree["score"])
    return tree.get("metric", {}), tree["score"]


def paths(arguments: Sequence[str], key: str) -> tuple[list[Path], list[str]]:
    """The paths among the arguments, with or without `KEY=` before them, and the overrides that are left.

    A run's folder has commas and equals signs in its name, so what exists on disk is a path.
    """
    found, overrides = [], []
    for argument in arguments:
        named = argument.removeprefix(f"{key}=")
        if named != argument or "=" not in argument or Path(argument).exists():
            found.append(Path(named))
        else:
            overrides.append(argument)
    return found, overrides


def evaluate(arguments: Sequence[str]) -> None:
    """Score the runs that the arguments name, and print a table for each.

    Raises:
        ConfigError: naming the argument and what to type.
    """
    folders, overrides = paths(arguments, "run")
    if not folders:
        raise ConfigError("name a run's folder: python -m disvae.evaluate outputs/DATASET/RUN")
    chosen, score = settings(overrides)
    runs = [Run(folder) for folder in folders]
    for run in runs:
        if not (run.path / "config.yaml").is_file():
            raise ConfigError(f"{run.path} is no run's folder: it holds no config.yaml")
    from disvae import evaluation
    from disvae.table import console, print_scores

    metrics = evaluation.choose(chosen, [] if chosen else "all")
    if len(runs) == 1:
        metrics.of_one()
    for run in runs:
        with run.lock():
            if metrics.metrics:
                evaluation.evaluate(run, metrics, score)
    if len(runs) > 1 and metrics.of_runs:
        evaluation.compare(runs, metrics, score)
    names = (evaluation.stage(score), f"{evaluation.stage(score)}-runs")
    screen = console()
    for run in runs:
        screen.print(f"\n{run.path}", highlight=False, soft_wrap=True)
        now = {name: found for name, found in run.scores().items() if name in names}
        print_scores(now, screen, only=metrics.nodes)


def command(describe: str | None, work: Callable[[Sequence[str]], None]) -> None:
    """A command line whose errors are one message, with --help from the module's docstring and conf/."""
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        print(knobs.score_help(describe or ""))
        return
    # Before torch loads OpenMP: threads that wait sleep soon; where cores are shared, spinning costs much.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.basicConfig(format="%(message)s")
    try:
        work(arguments)
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("disvae: stopped; what was written before is as it was", file=sys.stderr)
        sys.exit(130)


def main() -> None:
    """The command line."""
    command(__doc__, evaluate)


if __name__ == "__main__":
    main()
