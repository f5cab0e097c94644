"""The launcher of `python -m disvae.train -m`: it plans the jobs, runs them in processes and reports the results."""

import os
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from disvae.config import ConfigError
from disvae.runs.folder import digest, readable
from disvae.runs.provenance import now
from disvae.runs.shared import SHARED_FOLDER
from disvae.sweep import devices
from disvae.sweep.axes import varied
from disvae.sweep.entry import Entry
from disvae.sweep.packing import make_packs, most
from disvae.sweep.pool import Context, Pool, process_context
from disvae.sweep.record import Sweep, SweepJob
from disvae.sweep.view import summary, view
from disvae.system import machine
from disvae.system.overrides import in_words, typed
from disvae.system.scratch import scratch
from disvae.system.signals import Interrupted, interruptible, stop_if_asked
from disvae.training.job import Job, JobFailed

NOT_OF_THE_SWEEP = ("launcher", "force", "out", "log_every", "checkpoint_every", "plugins", "tags")
"""Settings that do not make it another sweep: its record's name and hash leave them out."""

MANY = 30
"""From this number of jobs on a line says that they are being composed, which takes about 0.1 s each."""


def launch(config: DictConfig, context: HydraContext, jobs: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
    """Run the unfinished jobs; return all results. The process exits here at a signal or if `out` cannot be written."""
    try:
        with interruptible():
            launcher = Launcher(config, context, [list(job) for job in jobs])
            record = launcher.record(first)
            launcher.plan(first)
            launcher.complete(record)
            stopped = launcher.run()
            summary(launcher.entries, record.path, record.out)
            launcher.close(record)
    except Interrupted as error:
        print(f"disvae: {error}; what was computed is kept", file=sys.stderr)
        sys.exit(128 + error.signum)
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    if stopped is not None:
        sys.exit(128 + stopped)
    return [launcher.result(entry) for entry in launcher.entries]


def new_record(config: DictConfig) -> Sweep:
    """Return the empty record of this process's command, which is not written yet."""
    arguments = [
        argument
        for argument in typed(config.hydra.overrides.task)
        if argument.lstrip("+~").partition("=")[0].partition(".")[0] not in NOT_OF_THE_SWEEP
    ]
    command = f"python -m disvae.train {shlex.join(sys.argv[1:])}"
    return Sweep.find(Path(config.out), readable(arguments, ()), arguments, command, now())


def parallel(config: DictConfig, found: Sequence[devices.Device]) -> int:
    """Return how many processes may run at once with these GPUs, or without a GPU."""
    asked = config.launcher.processes
    slots = len(found) * config.launcher.per_device or machine.processes(asked)
    return min(slots, asked) if found and asked != "auto" else slots


class Launcher:
    """The plan, the record and the results of one multirun."""

    def __init__(self, config: DictConfig, context: HydraContext, jobs: Sequence[list[str]]) -> None:
        self.config = config
        self.context = context
        common = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        names = [",".join(o for o in overrides if o not in common) or "defaults" for overrides in jobs]
        self.entries = [Entry(overrides, name) for overrides, name in zip(jobs, names, strict=True)]
        self.varied = varied(jobs)
        self.started: tuple[Context, int, list[devices.Device]] | None = None

    def plan(self, first: int) -> None:
        """Compose and check every job and find out what remains to be done; invalid jobs fail here."""
        if len(self.entries) > MANY:
            print(f"Checking {len(self.entries)} jobs ...", flush=True)
        seen: dict[str, str] = {}
        for number, entry in enumerate(self.entries, first):
            try:
                config = self._compose(entry.overrides, number)
                entry.config = config
                if config.preview == "schedule":
                    raise ConfigError("preview=schedule draws the schedules of one run: leave -m out")
                choices = config.hydra.runtime.choices
                entry.job = Job.of(config, typed(config.hydra.overrides.task), dict(choices), self.varied)
                mark = digest(entry.job.config)
                entry.twin = seen.get(mark, "")
                seen.setdefault(mark, entry.name)
                if not entry.job.remaining():
                    entry.state = "skipped"
                elif self.started is None:  # early: its server imports torch while other jobs are composed
                    self.started = self._prepare(config)
            except (ConfigError, OmegaConfBaseException, HydraException) as error:
                stop_if_asked()
                said = str(error) if isinstance(error, ConfigError) else in_words(error, entry.overrides)
                entry.settle("failed", said)

    def _compose(self, overrides: list[str], number: int) -> DictConfig:
        config = self.context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _prepare(self, config: DictConfig) -> tuple[Context, int, list[devices.Device]]:
        """Return how to start processes, how many run at once, and the GPUs they use."""
        found = devices.find(config.trainer.accelerator)
        # Finished jobs count, so that a resumed sweep has as many threads.
        slots = min(parallel(config, found), len(self.entries))
        machine.share_threads(slots)
        folder = scratch() / "shared"
        folder.mkdir(exist_ok=True)
        os.environ[SHARED_FOLDER] = str(folder)
        return process_context(), slots, found

    def record(self, first: int) -> Sweep:
        """Return the sweep's record; write one without run folders, so that status knows a new sweep from now on.

        Raises:
            ConfigError: `out` cannot be written.
        """
        sweep = new_record(self.config)
        if first:  # a sweeper that searches launches more than once
            sweep = Sweep.read(sweep.path)
        sweep.jobs += [SweepJob(entry.overrides, None) for entry in self.entries]
        if not sweep.path.exists():
            sweep.write()
        return sweep

    def complete(self, sweep: Sweep) -> None:
        """Write the jobs' run folders, or the reasons why they have none, to the sweep's record.

        Raises:
            ConfigError: `out` cannot be written.
        """
        for entry, job in zip(self.entries, sweep.jobs[-len(self.entries) :], strict=True):
            job.run = None if entry.job is None else os.path.relpath(entry.job.run.path, sweep.out)
            job.error = entry.reason if entry.job is None else None
        sweep.write()

    def run(self) -> int | None:
        """Run the jobs that remain; return the signal that stopped them, if there was one."""
        left = [entry for entry in self.entries if entry.state == "waiting"]
        context, slots, found = self.started or (None, 0, [])
        settings = self.config.launcher
        for entry in left:
            assert entry.config is not None
            choices = entry.config.hydra.runtime.choices
            entry.most = most(settings.pack, bool(found), choices.model, choices.objective)
        pack = partial(make_packs, slots=slots)
        packed = pack(left) if left else []
        shown = view(self.entries, slots)
        shown.say(self._opening(packed, slots, found))
        for entry in self.entries:
            if entry.state == "failed":
                shown.ended(entry)
        if context is None:
            return None
        pool = Pool(
            context,
            shown,
            slots=slots,
            devices=found,
            per_device=settings.per_device,
            retries=settings.retries,
            pack=pack,
        )
        return pool.run(packed)

    def _opening(self, packed: Sequence[Sequence[Entry]], slots: int, found: Sequence[devices.Device]) -> str:
        left = [entry for pack in packed for entry in pack]
        largest = max(map(len, packed), default=1)
        jobs = [entry.job for entry in left if entry.job is not None]
        begun = sum(job.run.place(job.force).last.exists() for job in jobs)
        skipped = sum(entry.state == "skipped" for entry in self.entries)
        said = [
            f"{len(self.entries)} job{'s' * (len(self.entries) != 1)}",
            f"{skipped} finished before" if skipped else "",
            f"{begun} to resume" if begun else "",
            f"{len(left) - begun} new" if len(left) > begun else "",
        ]
        if slots:
            at_once = f"packed {largest} in a process, " * (largest > 1) + f"{min(slots, len(packed))} at once"
            said.append(at_once + (f" on {len(found)} GPU{'s' * (len(found) != 1)}" if found else ""))
            threads = os.environ["OMP_NUM_THREADS"]
            said.append(f"{threads} thread{'s' * (threads != '1')} each")
        return " · ".join(filter(None, said))

    def close(self, record: Sweep) -> None:
        """Record the reasons of failures without a run folder, and the folders that other commands had made."""
        changed = False
        for entry, job in zip(self.entries, record.jobs[-len(self.entries) :], strict=True):
            if entry.job is None:
                continue
            before = (job.run, job.error)
            job.run = os.path.relpath(entry.job.run.path, record.out)
            if entry.state == "failed" and entry.job.run.status()["state"] == "new":
                job.error = entry.reason
            changed |= before != (job.run, job.error)
        if changed:
            record.write()

    def result(self, entry: Entry) -> JobReturn:
        """Return a job's result for Hydra, its sweepers and its callbacks."""
        answer = JobReturn(overrides=entry.overrides, working_dir=os.getcwd())
        if entry.config is not None:
            answer.cfg = OmegaConf.masked_copy(entry.config, [str(key) for key in entry.config if key != "hydra"])
            answer.hydra_cfg = OmegaConf.masked_copy(entry.config, "hydra")
        try:
            if entry.state == "failed" or entry.job is None:
                raise ConfigError(entry.reason)
            answer.return_value, answer.status = entry.job.result(), JobStatus.COMPLETED
        except ConfigError as error:
            answer.return_value, answer.status = JobFailed(f"disvae: {entry.name}: {error}"), JobStatus.FAILED
        if entry.config is not None:
            self.context.callbacks.on_job_end(config=entry.config, job_return=answer)
        return answer
