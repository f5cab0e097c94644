"""One run from the moment somebody holds its folder to its end: what is kept of it, whatever happens."""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from disvae.build import Built, build, count
from disvae.config import ConfigError
from disvae.dataset import Dataset
from disvae.evaluation.run_encodings import check
from disvae.evaluation.run_scores import choose, evaluate
from disvae.pictures.run_figures import choose as choose_figures
from disvae.pictures.run_figures import draw_run
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run, provenance
from disvae.runs.tensorboard import write_scores
from disvae.system.signals import Interrupted
from disvae.training.callbacks import Checkpoints, Curves, Member
from disvae.training.job import Report
from disvae.training.module import Diverged, VAEModule

log = logging.getLogger(__name__)


class Stopped(RuntimeError):
    """A run that did not reach its end, with the process's exit status."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def _describe(built: Built, config: Mapping[str, Any], device: torch.device) -> str:
    name = {node: config[node]["_target_"].rpartition(".")[2] for node in ("model", "prior", "posterior", "likelihood")}
    shape = "x".join(map(str, built.dataset.x_shape))
    place = f"cpu ({torch.get_num_threads()} threads)" if device.type == "cpu" else torch.cuda.get_device_name(device)
    return " · ".join(
        [
            type(built.module.objective).__name__,
            f"{type(built.dataset).__name__}, {built.module.N:,} of {len(built.dataset.images):,} images {shape}",
            f"{name['model']} {count(built.module.vae):,} parameters, z_dim {config['z_dim']}",
            f"p(z) {name['prior']}, q(z|x) {name['posterior']}, p(x|z) {name['likelihood']}",
            place,
        ]
    )


@dataclass(frozen=True)
class Asked:
    """A run that somebody wants trained.

    `force` repeats it beside what its folder holds, or goes on with a repeat that was begun; `brief` shows no
    progress; `report` is told of it. `usual_metrics`, `usual_figures`: those of the configuration were not asked for,
    and where they are not for the data nothing is said.
    """

    run: Run
    config: Mapping[str, Any]
    force: bool = False
    brief: bool = False
    usual_metrics: bool = False
    usual_figures: bool = False
    report: Report | None = None


class Session:
    """What one process does of a run."""

    built: Built

    def __init__(self, asked: Asked, device: torch.device) -> None:
        self.home, self.run = asked.run, asked.run.place(asked.force)
        self.run.make()
        self.config, self.brief, self.report = asked.config, asked.brief, asked.report
        self.device = device
        self.during = choose(self.config["metric"], [], by_default=asked.usual_metrics).of_one()
        self.at_end = choose(self.config["metric"], self.config["final"], by_default=asked.usual_metrics).of_one()
        shown, at_end = self.config["figure"], self.config["final_figures"]
        self.during_figures = choose_figures(shown, [], by_default=asked.usual_figures)
        self.at_end_figures = choose_figures(shown, at_end, by_default=asked.usual_figures)
        self.member = Member(self.run, self.config)
        self.curves = Curves(self.member)
        self.checkpoints = Checkpoints(self.member)
        self.started = time.monotonic()
        self.former = self.run.provenance().get("sessions", [])
        self.record: dict[str, Any] = {}
        self.checkpoint = load(self.run.last) if self.run.last.exists() else None

    @property
    def module(self) -> VAEModule:
        """What is trained."""
        return self.built.module

    @property
    def at_step(self) -> int:
        """Where it is."""
        if self.member.module is not None:
            return self.member.module.step
        return int(self.checkpoint["global_step"]) if self.checkpoint else 0

    def tell(self, activity: str, step: int) -> None:
        """Report, while it goes on."""
        if self.report and self.member.live:
            self.report(activity, step)

    def build(self, dataset: Dataset | None = None) -> None:
        """Make its parts, `dataset` where it is at hand, and go on from its last checkpoint.

        Raises:
            ConfigError: the parts cannot go together, the images have changed, or a file cannot be read or written.
        """
        self.tell("preparing", self.at_step)
        if self.checkpoint and not self.brief:
            print(f"Continuing from step {self.at_step:,} ({self.run.last})")
        self.run.mark("running", self.run.status()["step"])
        self.record = provenance(str(self.device), torch.get_num_threads())
        self.built = build(self.config, dataset)
        checksum = self.built.dataset.checksum
        if any(session.get("data_checksum") != checksum for session in self.former):
            remedy = "force=true starts it again" if self.run == self.home else "delete this folder to start it again"
            raise ConfigError(f"the images have changed since {self.run.path} was begun; {remedy}")
        self.record["data_checksum"] = checksum
        self.write_record()
        if not self.brief:
            repeated = "" if self.run == self.home else " (what it holds stays until the repeat is finished)"
            print(
                _describe(self.built, self.config, self.device), f"→ {self.home.path}{repeated}", sep="\n", flush=True
            )
        if self.at_end.metrics:
            check(self.built, self.config["score"])
        if self.checkpoint:
            self.built.module.resume(self.checkpoint)
            self.checkpoints.best_elbo = self.checkpoint["best_elbo"]
        self.member.module = self.built.module

    @property
    def trained(self) -> bool:
        """Whether the last step was made and its terms are kept."""
        return self.at_step >= self.config["steps"] and "val/elbo" in self.run.metrics()

    def score(self) -> None:
        """The scores of its last weights, into its folder; then it is finished."""
        self.curves.close()  # a later file of events follows
        started = time.monotonic()
        if self.at_end.metrics:
            if not self.brief:
                print(f"Scoring by {len(self.at_end.metrics)} metrics (final=[] leaves them out) ...", flush=True)
            self.tell("scoring", self.config["steps"])
            said = evaluate(self.run, self.at_end, self.config["score"], built=self.built, device=self.device)
            if not self.brief and said:
                print(said)
        else:
            write_scores(self.run.path, {}, self.run.metrics(), self.config["steps"])
        seconds = self.record.setdefault("seconds", {})
        seconds["scores"] = round(time.monotonic() - started, 1)
        started = time.monotonic()
        if self.at_end_figures.figures:
            self.tell("drawing", self.config["steps"])
            draw_run(self.run, self.at_end_figures, built=self.built, device=self.device)
            seconds["pictures"] = round(time.monotonic() - started, 1)
        self.close()
        self.run.mark("finished", self.config["steps"])
        self.run = self.home  # a repeat moves there, now or, if this process is killed, at the next command
        self.run.settle()
        if self.config["report"]:
            from disvae.pictures.run_page import write_page  # and what draws: none of it is needed to begin

            try:
                write_page(self.run, self.run.report)
            except Exception as error:  # a page less must not make a finished run a failed one
                log.warning("%s could not be made: %s", self.run.report, error)

    def write_record(self) -> None:
        """Where its numbers come from."""
        self.run.create(self.config, {"sessions": [*self.former, self.record]})

    def close(self) -> None:
        """Nothing more will be written but its status."""
        self.curves.close()
        if "data_checksum" in self.record:
            self.record["wall_s"] = round(time.monotonic() - self.started, 1)
            self.write_record()

    def failure(self, error: BaseException) -> BaseException:
        """Write down how it ended; returns what its caller is to raise."""
        self.member.live = False
        if self.run.finished():  # a signal after its last word takes nothing back
            return error
        step = self.at_step or self.run.status()["step"]  # while building it is not known yet
        try:
            if isinstance(error, Diverged):
                self.curves.write_terms()  # of the steps before
                self.run.mark("diverged", step, error=str(error))
                good = (
                    f"the last good checkpoint is {self.run.last}"
                    if self.run.last.exists()
                    else "no checkpoint was reached"
                )
                return Stopped(f"training diverged at {error}; {good}. Try a lower optimizer.lr", 4)
            if isinstance(error, Interrupted):
                self.run.mark("interrupted", step, error=str(error))
                return Stopped(f"{error} at step {step}; the same command continues it", 128 + error.signum)
            state = "interrupted" if isinstance(error, SystemExit) else "failed"  # Slurm's limit: requeued by a handler
            self.run.mark(state, step, error=f"{type(error).__name__}: {error}")
            return error
        finally:
            self.close()
