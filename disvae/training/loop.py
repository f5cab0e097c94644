"""Runs from their start, or from their last checkpoint, to their scores."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import pytorch_lightning as pl

from disvae.system.instantiate import make
from disvae.training.callbacks import CollapseGuard, Figures, Scores, Seconds, StopOnSignal
from disvae.training.checkpoint_io import AtomicCheckpointIO
from disvae.training.cuda_graph import can_record
from disvae.training.data_module import DataModule
from disvae.training.job import Job
from disvae.training.module import VAEModule
from disvae.training.packed.module import PackedCheckpointIO, PackedDataModule, PackedModule
from disvae.training.parts import Parts, prepare
from disvae.training.progress import Progress, Reporting, seconds_at_end
from disvae.training.run_trainer import RunTrainer
from disvae.training.trainer import set_up, trainer_of


def train_run(job: Job, parts: Parts | None = None) -> bool:
    """Train to the last step and score; the results are in the run's folder. Return False if it was finished already.

    `parts` are those of `prepare`, which is called here if they are not given.

    Raises:
        ConfigError: the parts cannot go together, or a file cannot be read or written.
        Stopped: the loss diverged or a signal came; the last checkpoint is good and the same command continues it.
    """
    set_up()
    with job.run.lock():
        if not job.force and job.run.finished():  # by another process, since somebody looked
            return False
        run = RunTrainer(job, parts or prepare(job))
        try:
            with StopOnSignal() as stop:
                run.build()
                Training([run], stop).train()
                run.score()
        except BaseException as error:
            failure = run.failure(error)
            if failure is error:
                raise
            raise failure from error
    return True


class Training:
    """Lightning's trainer with the user's settings, for one run or for several of one structure.

    `lost` is called with a packed run that diverged or failed while others go on.

    Raises:
        ConfigError: a setting that would change what a step or a run is.
    """

    def __init__(
        self,
        runs: Sequence[RunTrainer],
        stop: StopOnSignal,
        lost: Callable[[VAEModule, Exception], None] = lambda module, error: None,
    ) -> None:
        self.runs = runs
        self.stop = stop
        self.seconds = Seconds([run.checkpoints for run in runs])
        config = runs[0].config
        data = [run.built.data for run in runs]
        modules = [run.module for run in runs]
        self.module: VAEModule | PackedModule = modules[0]
        self.data: DataModule | PackedDataModule = DataModule(data[0], config["steps"])
        checkpoint_io, loggers = AtomicCheckpointIO(), runs[0].member.loggers
        if len(runs) > 1:
            member_of = {run.module: run.member for run in runs}
            self.module = packed = PackedModule(
                modules,
                [run.checkpoint for run in runs],
                failed=lost,
                log=lambda module, values, step: member_of[module].log(values, step),
                graph=can_record(runs[0].device) and config["trainer"]["graph"],
            )
            for run in runs:
                run.member.leave = partial(packed.leave, run.module)
            self.data = PackedDataModule(data, config["steps"])
            checkpoint_io, loggers = PackedCheckpointIO(packed), []
        stop.checkpoints = [run.checkpoints for run in runs]
        callbacks = [*self._callbacks(), stop, self.seconds]
        self.trainer = trainer_of(runs[0].run.path, config, callbacks, loggers, checkpoint_io)
        for run in runs:
            run.trainer = self.trainer

    def _callbacks(self) -> list[pl.Callback]:
        config = self.runs[0].config
        callbacks = [make(node, f"callbacks.{name}") for name, node in config["callbacks"].items()]
        for run in self.runs:
            callbacks += [
                Scores(run.member, run.parts.during),
                Figures(run.member, run.parts.during_figures),
                CollapseGuard(run.member),
                run.checkpoints,
            ]
            if run.report:
                callbacks.append(Reporting(run.tell))
        if not self.runs[0].brief and len(self.runs) == 1:
            at_end = seconds_at_end(self.runs[0].home, config)
            callbacks.append(Progress(config, self.seconds, at_end))
        return callbacks

    def train(self) -> None:
        """Make the steps that are left, then score the validation and the held-out samples; the terms are kept.

        Raises:
            Diverged, Interrupted: after what can be kept was.
        """
        if all(run.trained for run in self.runs):
            return
        started = time.perf_counter()
        first = self.runs[0]
        with self.stop.training():
            self.trainer.fit(self.module, datamodule=self.data, ckpt_path=first.run.last if first.checkpoint else None)
        if any(run.module.evaluated_at != self.trainer.global_step for run in self.runs if run.member.live):
            self.trainer.validate(self.module, datamodule=self.data, verbose=False)
        live = [run for run in self.runs if run.member.live]
        metrics = []
        for run in live:
            terms = {"train": run.module.last_terms, "val": run.module.evaluation}
            metrics.append({f"{stage}/{name}": value for stage in terms for name, value in terms[stage].items()})
        if len(live[0].built.data.held_out_rows) > 1:
            self.trainer.test(self.module, datamodule=self.data, verbose=False)
            for run, of_run in zip(live, metrics, strict=True):
                of_run |= {f"held_out/{name}": value for name, value in run.module.evaluation.items()}
        scored = self.seconds.validation + self.seconds.held_out
        seconds = {"training": self.seconds.training, "validation": scored}
        seconds["checkpoints, curves and the rest"] = time.perf_counter() - started - sum(seconds.values())
        for run, of_run in zip(live, metrics, strict=True):
            if run.member.live:  # or else it failed on the held-out sample
                run.run.save_metrics(of_run)
                run.record["seconds"] = {name: round(spent, 1) for name, spent in seconds.items()}
