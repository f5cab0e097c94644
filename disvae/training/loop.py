"""Runs from their start, or from their last checkpoint, to their scores."""

import json
import logging
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from filelock import BaseFileLock
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from disvae.build import make
from disvae.config import ConfigError, read_keys
from disvae.data.batches import Chunks
from disvae.dataset import Dataset
from disvae.evaluation.run_encodings import device_of
from disvae.runs.atomic import replacing
from disvae.runs.folder import Run
from disvae.system.memory import keep_freed_memory
from disvae.system.signals import Interrupted
from disvae.training.callbacks import Figures, Pace, Scores, StopOnSignal
from disvae.training.ddp import Rank, Shared, Told, first_rank, helpers
from disvae.training.module import Diverged, Steps, VAEModule
from disvae.training.packed.module import Packed
from disvae.training.packed.vmap_step import structure
from disvae.training.precision import set_products
from disvae.training.progress import Progress, Reporting
from disvae.training.run_trainer import Asked, Session, Stopped

CHUNKED = ("steps", "eval_every", "checkpoint_every")
"""What the chunks of runs that are trained as one have in common."""

Outcome = bool | BaseException


def set_up() -> None:
    """The allocator; no Lightning tips, nor its warnings about choices made here on purpose."""
    keep_freed_memory()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*treespec.*", ".*LeafSpec.*", ".*infer the `batch_size`.*"):
        warnings.filterwarnings("ignore", message=text)


def fit(asked: Asked) -> bool:
    """Train to the last step and score; the results are in the run's folder. False if it was finished already.

    Raises:
        ConfigError: the parts cannot go together, or a file cannot be read or written.
        Stopped: the loss diverged or a signal came; the last checkpoint is good and the same command continues it.
    """
    set_up()
    with asked.run.lock():
        if not asked.force and asked.run.finished():  # by another process, since somebody looked
            return False
        session = Session(asked, device_of(asked.config))
        try:
            with StopOnSignal() as stop:
                training = Training([session], stop)
                session.build()
                training.train()
                session.score()
        except BaseException as error:
            failure = session.failure(error)
            if failure is error:
                raise
            raise failure from error
    return True


def fit_together(
    asked: Sequence[Asked], turn: Callable[[int | None], None], done: Callable[[int, Outcome], None]
) -> None:
    """`fit` of several runs, those of one structure as one.

    `turn` is told whose output follows (None: that of all), and `done`, once for each, what `fit` would have returned
    or raised.
    """
    set_up()
    together = _Together(asked, turn, done)
    try:
        together.go()
    except BaseException as error:
        together.abandon(error)
        if not isinstance(error, (Exception, Interrupted)):
            raise


class _Together:
    """The sessions of several runs."""

    def __init__(
        self, asked: Sequence[Asked], turn: Callable[[int | None], None], done: Callable[[int, Outcome], None]
    ) -> None:
        self.asked = asked
        self.turn = turn
        self.done = done
        self.open = set(range(len(asked)))
        self.locks: dict[int, BaseFileLock] = {}
        self.sessions: dict[int, Session] = {}
        self.datasets: dict[str, Dataset] = {}

    def go(self) -> None:
        """Do all of them; what concerns one alone ends that one."""
        with StopOnSignal() as stop:
            for i in sorted(self.open):
                with self._alone(i):
                    self._prepare(i)
            self.turn(None)
            for numbers in self._alike():
                self._train(numbers, stop)
            for i in sorted(self.open):
                with self._alone(i):
                    self.sessions[i].score()
                    self._end(i, True)

    def abandon(self, error: BaseException) -> None:
        """End those that have not."""
        for i in sorted(self.open):
            self.turn(i)
            self._fail(i, error)

    @contextmanager
    def _alone(self, i: int) -> Iterator[None]:
        self.turn(i)
        try:
            yield
        except Exception as error:
            self._fail(i, error)

    def _prepare(self, i: int) -> None:
        asked = self.asked[i]
        self.locks[i] = asked.run.lock()
        if not asked.force and asked.run.finished():
            self._end(i, False)
            return
        self.sessions[i] = Session(asked, device_of(asked.config))
        name = json.dumps(asked.config["dataset"], sort_keys=True)
        self.sessions[i].build(self.datasets.get(name))
        self.datasets[name] = self.sessions[i].built.dataset

    def _alike(self) -> list[list[int]]:
        """Those that can be trained as one."""
        groups = defaultdict(list)
        for i in sorted(self.open):
            session, module = self.sessions[i], self.sessions[i].module
            shared = {key: session.config[key] for key in ("dataset", "split", "trainer", "batch_size", *CHUNKED)}
            if session.config["trainer"]["precision"] == "bf16-mixed":
                shared["alone"] = i  # what autocast makes of a product, vmap does not
            key = (structure(module, module.new_optimizer()), json.dumps(shared, sort_keys=True), session.at_step)
            groups[key].append(i)
        return list(groups.values())

    def _train(self, numbers: list[int], stop: StopOnSignal) -> None:
        for i in numbers:
            self.sessions[i].record["packed"] = len(numbers)
            self.sessions[i].write_record()
        sessions = [self.sessions[i] for i in numbers]
        number_of = {self.sessions[i].module: i for i in numbers}
        try:
            Training(sessions, stop, lambda module, error: self._fail(number_of[module], error)).train()
        except Exception as error:
            for i in self.open.intersection(numbers):
                self._fail(i, error)

    def _fail(self, i: int, error: BaseException) -> None:
        if i in self.sessions:
            error = self.sessions[i].failure(error)
        elif isinstance(error, Interrupted):
            error = Stopped(f"{error} before it was begun; the same command begins it", 128 + error.signum)
        self._end(i, error)

    def _end(self, i: int, outcome: Outcome) -> None:
        self.open.remove(i)
        if i in self.locks:
            self.locks.pop(i).release()
        self.done(i, outcome)


class Training:
    """Lightning's trainer with the user's settings, about runs of one structure.

    `lost` is told of a member that diverged while others go on.

    Raises:
        ConfigError: a setting that would change what a step or a run is.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        stop: StopOnSignal,
        lost: Callable[[VAEModule, Diverged], None] = lambda module, error: None,
    ) -> None:
        self.sessions = sessions
        self.lost = lost
        config = sessions[0].config
        self.chunks = Chunks(config["steps"], config["eval_every"], config["checkpoint_every"], sessions[0].at_step)
        self.pace = Pace(self.chunks)
        stop.watch([session.checkpoints for session in sessions])
        callbacks: list[pl.Callback] = []
        for session in sessions:
            callbacks += [session.curves, Scores(session.curves, session.during)]
            callbacks += [Figures(session.curves, session.during_figures), session.checkpoints]
            if session.report:
                callbacks.append(Reporting(session.tell))
        if not sessions[0].brief and len(sessions) == 1:
            callbacks.append(Progress(config["steps"], config["batch_size"]))
        callbacks += [stop, self.pace]
        self.rank = first_rank(config)
        self.trainer = trainer_of(sessions[0].run, config["trainer"], callbacks, self.chunks, self.rank)

    def train(self) -> None:
        """Make the steps that are left, then score the validation and the held-out samples; the terms are kept.

        Raises:
            Diverged, Interrupted: after what can be kept was.
        """
        if all(session.trained for session in self.sessions):
            return
        started = time.perf_counter()
        modules = [session.module for session in self.sessions]
        module = modules[0] if len(modules) == 1 else Packed(modules, self.lost)
        once = range(1)  # all members are scored by one step of Lightning's loop
        if module.step < self.chunks.steps:
            self._fit(module, once)
        if any(member.evaluated_at != module.step for member in module.members):
            self.trainer.validate(module, dataloaders=once, verbose=False)
        live = [session for session in self.sessions if session.member.live]
        metrics = []
        for session in live:
            terms = {"train": session.module.last_terms, "val": session.module.evaluation}
            metrics.append({f"{stage}/{name}": value for stage in terms for name, value in terms[stage].items()})
        if len(live[0].built.data.held_out_rows) > 1:
            self.trainer.test(module, dataloaders=once, verbose=False)
            for session, of_run in zip(live, metrics, strict=True):
                of_run |= {f"held_out/{name}": value for name, value in session.module.evaluation.items()}
        seconds = {"training": module.training_s, "validation": self.pace.validation_s}
        seconds["checkpoints, curves and the rest"] = time.perf_counter() - started - sum(seconds.values())
        for session, of_run in zip(live, metrics, strict=True):
            session.run.save_metrics(of_run)
            session.record["seconds"] = {name: round(spent, 1) for name, spent in seconds.items()}

    def _fit(self, module: Steps, once: range) -> None:
        if self.rank is None:
            self.trainer.fit(module, train_dataloaders=self.chunks, val_dataloaders=once)
            return
        [session] = self.sessions
        device = self.trainer.strategy.root_device
        with helpers(self.rank, session.run, session.config):
            shared = Shared(session.module, self.rank)
            self.trainer.fit(shared, train_dataloaders=Told(self.chunks, self.trainer), val_dataloaders=once)
        alone = {**session.config["trainer"], "devices": 1 if device.type == "cpu" else [device.index]}
        self.trainer = trainer_of(session.run, alone, [], self.chunks)


def trainer_of(
    run: Run, chosen: Mapping[str, Any], callbacks: list[pl.Callback], chunks: Chunks, rank: Rank | None = None
) -> pl.Trainer:
    """Lightning's trainer with the settings `chosen`; those that would change what a step or a run is are refused."""
    owned: dict[str, Any] = {
        "max_steps": -1,
        "max_epochs": chunks.stretches(),  # one from each validation to the next
        "max_time": None,
        "num_nodes": 1,
        "accumulate_grad_batches": 1,
        "gradient_clip_algorithm": None,
        "fast_dev_run": False,
        "overfit_batches": 0.0,
        "limit_train_batches": 1.0,
        "limit_val_batches": 1.0,
        "limit_test_batches": 1.0,
        "val_check_interval": 1.0,
        "check_val_every_n_epoch": 1,
        "num_sanity_val_steps": 0,
        "inference_mode": False,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "default_root_dir": run.path,
        "callbacks": callbacks,
    }
    for key in chosen:
        if key in owned:
            raise ConfigError(f"trainer.{key} is not yours to set: use steps, batch_size, eval_every, eval_images ...")
    ours = {"gradient_clip_val", "graph"}  # a step is made by our module
    theirs = {key: value for key, value in chosen.items() if key not in ours}
    theirs["precision"] = theirs["precision"].replace("tf32", "32-true")
    theirs["strategy"] = rank.strategy() if rank else "auto"
    try:
        trainer = pl.Trainer(**theirs, **owned)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    _set_precision(chosen["precision"], trainer.strategy.root_device)
    return trainer


def _set_precision(precision: str, device: torch.device) -> None:
    """Float32 products of a GPU are exact unless TF32 is asked for, in which case they keep 10 bits of the mantissa."""
    if device.type != "cuda":
        if precision == "tf32":
            raise ConfigError("trainer.precision=tf32 is for a GPU: type trainer.precision=32-true")
        return
    set_products(tf32=precision == "tf32")


def preview_schedules(cfg: DictConfig, out: Path) -> None:
    """Draw the schedules that the objective reads, before training, and say where the picture is."""
    from disvae.pictures.schedule_plot import schedule_plot

    read = [name for name in cfg.schedule if f"schedule.{name}" in read_keys(cfg)]
    if not read:
        raise ConfigError("preview=schedule has nothing to draw: this objective reads no schedule")
    nodes = OmegaConf.to_container(cfg.schedule, resolve=True)
    assert isinstance(nodes, dict)
    named = {name: make(nodes[name], f"schedule.{name}") for name in map(str, read)}
    path = out / "schedule.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            schedule_plot(named, cfg.steps).savefig(temporary, format="png", dpi=120)
    except OSError as error:
        raise ConfigError(f"out={out} cannot be written ({error}); choose another with out=PATH") from error
    for name, schedule in named.items():
        marks = [0, cfg.steps // 4, cfg.steps // 2, cfg.steps - 1]
        print(f"{name:<9}" + "  ".join(f"step {step:,}: {schedule(step):.4g}" for step in marks))
    print(f"Schedules drawn in {path}")
