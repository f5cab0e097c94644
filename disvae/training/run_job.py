"""A job from its start to its printed result. Imports torch only when there is something to compute."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from disvae.runs.tags import main_value
from disvae.runs.terminal import print_result
from disvae.runs.verdict import collapsed
from disvae.system.imports import loading
from disvae.system.signals import interruptible
from disvae.training.job import Job, Report

if TYPE_CHECKING:
    from disvae.training.parts import Parts


def parts_of(job: Job) -> "Parts | None":
    """Return the parts of a run that is to be trained, checked before its folder is made; None if it is trained.

    Raises:
        ConfigError: a setting is wrong, or the parts cannot go together.
        InUse: another process trains this very run.
    """
    if job.remaining() != "training":
        return None
    with loading():
        from disvae.training.parts import prepare
        from disvae.training.trainer import set_up

    with interruptible():
        if job.run.path.is_dir():
            job.run.lock().release()
        set_up()
        return prepare(job)


def do(job: Job, *, brief: bool, report: Report | None = None, parts: "Parts | None" = None) -> bool:
    """Train or resume the job's run, or score and draw what is trained; return False if another process had done it.

    `brief` shows no progress; `report` is called with it; `parts` are those of `parts_of`, if it was called.

    Raises:
        ConfigError: the parts cannot go together, or a file cannot be read or written.
        InUse: another process trains this very run.
        Stopped: the loss diverged or a signal came.
    """
    remaining = job.remaining()
    if remaining == "training":
        with loading():
            from disvae.training.loop import train_run

        return train_run(replace(job, brief=brief, report=report), parts)
    print(f"Already finished: {job.run.path} (force=true repeats it)")
    if remaining == "scores":
        _score(job, report)
        return True
    if job.typed("final", "score."):
        place = shlex.quote(str(job.run.path))
        print(f"For other scores of it: python -m disvae.evaluate {place} metric=[...] score.NAME=VALUE")
    return False


def _score(job: Job, report: Report | None) -> None:
    """Compute the scores and draw the figures that were typed, for a run that is trained."""
    with loading():
        from disvae.evaluation import run_scores
        from disvae.pictures import run_figures
        from disvae.pictures.run_page import write_page

    if report:
        report("scoring", job.config["steps"])
    with interruptible(), job.run.lock():
        if job.metrics_asked:
            metrics = run_scores.choose_metrics(job.config["metric"], []).of_one()
            run_scores.evaluate_run(job.run, metrics, job.config["score"])
        if job.figures_asked:
            run_figures.draw_run(job.run, run_figures.choose_figures(job.config["figure"], []))
        if job.run.report.exists():
            write_page(job.run, job.run.report)


def say_result(job: Job, *, brief: bool) -> None:
    """Print the final table or, if `brief`, a line."""
    if not brief:
        print_result(job.run)
        return
    print(
        f"{job.run.path.name}: validation {main_value(job.run.metrics())} nats per image",
        *(["posterior collapse: no latent is active"] if collapsed(job.run.metrics()) else []),
        sep=" · ",
    )


def do_together(
    jobs: Sequence[Job],
    *,
    report: Callable[[int, str, int], None],
    on_switch: Callable[[int | None], None],
    on_done: Callable[[int, bool | BaseException], None],
) -> None:
    """Do several jobs that remain to be trained, those of one structure as packed runs.

    `report` is called with the number of the job, `on_switch(i)` before output of job i (None: of all jobs), and
    `on_done(i, outcome)` once for each job with what `do` would have returned or raised.
    """
    with loading():
        from disvae.training.job_group import train_jobs

    train_jobs([replace(job, report=partial(report, i)) for i, job in enumerate(jobs)], on_switch, on_done)
