"""Several jobs in one process: those of one structure are trained as packed runs, the others one after another."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from filelock import BaseFileLock

from disvae.dataset import Dataset
from disvae.system.signals import Interrupted, stop_if_asked
from disvae.training.callbacks import StopOnSignal
from disvae.training.job import Job, packable
from disvae.training.loop import Training
from disvae.training.packed.vmap_step import refusal, structure
from disvae.training.parts import prepare
from disvae.training.run_trainer import RunTrainer, Stopped
from disvae.training.trainer import set_up

log = logging.getLogger(__name__)

SHARED = ("dataset", "split", "trainer", "batch_size", "steps", "eval_every", "log_every")
"""Settings that packed runs have in common, beside their structure."""

TrainOutcome = bool | BaseException


def train_jobs(
    jobs: Sequence[Job], on_switch: Callable[[int | None], None], on_done: Callable[[int, TrainOutcome], None]
) -> None:
    """Train several jobs as `train` does one, those of one structure as packed runs.

    `on_switch(i)` is called before output of job i (None: of all jobs), and `on_done(i, outcome)` once for each job
    with what `train` would have returned or raised.
    """
    set_up()
    group = JobGroup(jobs, on_switch, on_done)
    try:
        group.train()
    except BaseException as error:
        group.abandon(error)
        if not isinstance(error, (Exception, Interrupted)):
            raise


class JobGroup:
    """The runs of several jobs; an error that concerns one run ends that run."""

    def __init__(
        self,
        jobs: Sequence[Job],
        on_switch: Callable[[int | None], None],
        on_done: Callable[[int, TrainOutcome], None],
    ) -> None:
        self.jobs = jobs
        self.on_switch = on_switch
        self.on_done = on_done
        self.open = set(range(len(jobs)))
        self.locks: dict[int, BaseFileLock] = {}
        self.runs: dict[int, RunTrainer] = {}
        self.datasets: dict[str, Dataset] = {}

    def train(self) -> None:
        """Build, train and score all runs."""
        with StopOnSignal() as stop:
            for i in sorted(self.open):
                with self._alone(i):
                    self._prepare(i)
            self.on_switch(None)
            for numbers in self._alike():
                self._train(numbers, stop)
            for i in sorted(self.open):
                with self._alone(i):
                    self.runs[i].score()
                    self._end(i, True)

    def abandon(self, error: BaseException) -> None:
        """End the runs that have not ended."""
        for i in sorted(self.open):
            self.on_switch(i)
            self._fail(i, error)

    @contextmanager
    def _alone(self, i: int) -> Iterator[None]:
        self.on_switch(i)
        try:
            yield
        except Exception as error:
            stop_if_asked()
            self._fail(i, error)

    def _prepare(self, i: int) -> None:
        job = self.jobs[i]
        self.locks[i] = job.run.lock()
        if not job.force and job.run.finished():
            self._end(i, False)
            return
        name = json.dumps(job.config["dataset"], sort_keys=True)
        parts = prepare(job, self.datasets.get(name))
        self.datasets[name] = parts.built.dataset
        self.runs[i] = RunTrainer(job, parts)
        self.runs[i].build()

    def _alike(self) -> list[list[int]]:
        """Return the numbers of the runs that can be trained as one, group by group."""
        groups = defaultdict(list)
        for i in sorted(self.open):
            run = self.runs[i]
            shared = {key: run.config[key] for key in SHARED}
            if not packable(run.config):
                shared["alone"] = i
            key = (structure(run.module, run.module.new_optimizer()), json.dumps(shared, sort_keys=True), run.at_step)
            groups[key].append(i)
        return [part for numbers in groups.values() for part in self._packable(numbers)]

    def _packable(self, numbers: list[int]) -> list[list[int]]:
        """Return the runs as one group, or each alone if their objective's step cannot be vectorised."""
        if len(numbers) == 1:
            return [numbers]
        first = self.runs[numbers[0]]
        rows = {name: of_step[0] for name, of_step in first.built.data.batches.of_steps(first.at_step, 1).items()}
        batch = first.built.data.take(rows, first.built.data.images.data.device)
        reason = refusal([self.runs[i].module for i in numbers], batch)
        if reason is None:
            return [numbers]
        log.warning("These %d runs are trained one after another: %s", len(numbers), reason)
        return [[i] for i in numbers]

    def _train(self, numbers: list[int], stop: StopOnSignal) -> None:
        for i in numbers:
            self.runs[i].record["packed"] = len(numbers)
            self.runs[i].write_record()
        number_of = {self.runs[i].module: i for i in numbers}
        try:
            Training(
                [self.runs[i] for i in numbers], stop, lambda module, error: self._fail(number_of[module], error)
            ).train()
        except Exception as error:
            stop_if_asked()
            for i in self.open.intersection(numbers):
                self._fail(i, error)

    def _fail(self, i: int, error: BaseException) -> None:
        if i in self.runs:
            error = self.runs[i].failure(error)
        elif isinstance(error, Interrupted):
            error = Stopped(f"{error} before it was begun; the same command begins it", 128 + error.signum)
        self._end(i, error)

    def _end(self, i: int, outcome: TrainOutcome) -> None:
        self.open.remove(i)
        if i in self.locks:
            self.locks.pop(i).release()
        self.on_done(i, outcome)
