"""Score and draw trained runs again, with other metrics, figures, images or seeds, or score their agreement.

    python -m disvae.evaluate outputs/sprites/RUN
    python -m disvae.evaluate run=outputs/sprites/RUN metric=dci,mig metric.mig.bins=40 score.images=all
    python -m disvae.evaluate outputs/sprites/RUN figure=traversal figure.traversal.image=7
    python -m disvae.evaluate outputs/sprites/RUN outputs/sprites/RUN metric=udr

A run folder is all that is needed. New scores are added to its scores.json and metrics.json; a metric with the same
settings replaces its old scores. Pictures are written to its folder figures/ and to TensorBoard. Without metric= and
figure=, all metrics that fit the data and take seconds are computed, and all figures but animations are drawn.
dataset.path=PATH says where the data of the runs are now, if they have moved; other data are refused.
The exit status is 2 for a wrong argument, 130 for Ctrl-C and 143 for SIGTERM; finished scores are kept.
"""

import sys
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from disvae.config import ConfigError
from disvae.evaluation.settings import scoring_settings
from disvae.runs.digests import Damaged
from disvae.runs.folder import Run
from disvae.system.command import command, option, paths
from disvae.system.help import score_help
from disvae.system.imports import loading

if TYPE_CHECKING:
    from disvae.metric import Metric, ModelMetric


def evaluate(arguments: Sequence[str]) -> None:
    """Score and draw the runs in the arguments, and print a table for each run.

    Raises:
        ConfigError: an argument is wrong; the message says what to type.
    """
    place, others = option(arguments, "dataset.path")
    folders, overrides = paths(others, "run")
    if not folders:
        raise ConfigError("name the folder of a run: python -m disvae.evaluate outputs/DATASET/RUN")
    chosen, shown, score = scoring_settings(overrides)
    failed = set()

    def failing(run: Run, error: ConfigError) -> None:
        if len(folders) == 1:
            raise error
        failed.add(run)
        print(f"disvae: {error}" if str(run.path) in str(error) else f"disvae: {run.path}: {error}", file=sys.stderr)

    runs = []
    for run in map(Run, folders):
        try:
            run.check_trained()
            runs.append(run)
        except ConfigError as error:
            if not isinstance(error, Damaged) and not (run.path / "config.yaml").exists():  # a wrong argument
                raise
            failing(run, error)
    with loading():
        from disvae.evaluation import run_scores as evaluation
        from disvae.evaluation.run_encodings import built_of
        from disvae.pictures import run_figures as drawing
        from disvae.pictures.run_page import write_page

    nothing_chosen = not chosen and not shown
    metrics = evaluation.choose_metrics(chosen, "all" if nothing_chosen else [])
    pictures = drawing.choose_figures(shown, "all" if nothing_chosen else [])
    if len(folders) == 1:
        metrics.of_one()
    names = [evaluation.stage(score)]
    for run in runs:
        try:
            built = None if place is None else built_of(run, place)
            if metrics.metrics:
                print(_announced(run, metrics.metrics, score), flush=True)
                with run.lock():
                    said = evaluation.evaluate_run(run, metrics, score, built=built)
                _show(run, names, metrics.nodes, said)
            if pictures.figures:
                with run.lock():
                    written = drawing.draw_run(run, pictures, built=built)
                _say_written(run, written)
        except ConfigError as error:
            failing(run, error)
    if len(runs) > 1 and metrics.of_runs:
        evaluation.score_together(runs, metrics, score, place)
        for run in runs:
            _show(run, [f"{names[0]}-runs"], metrics.nodes, "")
    for run in runs:
        try:
            if run not in failed and run.report.exists():
                write_page(run, run.report)
        except ConfigError as error:
            failing(run, error)
    if failed:
        raise ConfigError(f"{len(failed)} of {len(folders)} runs could not be scored or drawn: see above")


def _announced(run: Run, metrics: Mapping[str, "Metric | ModelMetric"], score: Mapping[str, Any]) -> str:
    """Return a line that says what begins, and what of it takes minutes."""
    said = f"Scoring {run.path} by {', '.join(metrics)} ..."
    if score["images"] == "all":
        said += " (encoding all images of a large dataset takes minutes)"
    slow = ", ".join(label for label, metric in metrics.items() if metric.slow)
    if slow and score["repeats"] > 2:
        said += f"\n{slow}: minutes for each score, and intervals and baselines need many scores; far fewer with "
        said += "score.repeats=2 'score.controls=[]'"
    return said


def _show(run: Run, stages: Sequence[str], labels: Collection[str], said: str) -> None:
    from disvae.runs.terminal import console, print_scores

    screen = console()
    screen.print(f"\n{run.path}", highlight=False, soft_wrap=True)
    found = {name: scored for name, scored in run.scores().items() if name in stages}
    print_scores(found, screen, only=labels)
    if said:
        screen.print(said, highlight=False)
    if not any(entry["scores"] for scored in found.values() for label, entry in scored.items() if label in labels):
        raise ConfigError("no metric could be computed: see the reasons above")


def _say_written(run: Run, written: Collection[str]) -> None:
    if not written:
        raise ConfigError(f"{run.path}: no figure could be drawn: see the reasons above")
    print(f"Drawn in {run.figures}: {', '.join(written)}")


def main() -> None:
    """Run the evaluation command line."""
    command(lambda: score_help(__doc__ or "", figures=True), evaluate, kept="scored")


if __name__ == "__main__":
    main()
