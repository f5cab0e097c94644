"""Runs from their start, or from their last checkpoint, to their scores."""

import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from disvae.allocator import keep_freed_memory
from disvae.build import Built, build, count, make
from disvae.callbacks import Checkpoints, Curves, Member, Pace, Scores, StopOnSignal
from disvae.checkpoint import load
from disvae.config import ConfigError, read_keys
from disvae.data import Chunks
from disvae.dataset import Dataset
from disvae.evaluation import choose, evaluate
from disvae.interrupt import Interrupted
from disvae.module import Diverged
from disvae.progress import Progress, Reporting
from disvae.runs import Run, provenance
from disvae.sources import check
from disvae.summary import write_scores
from disvae.task import Report

PRECISIONS = ("32-true", "tf32", "bf16-mixed")
"""float32; on a GPU with rounded factors in its products; bfloat16 in the networks alone. float16 would need its loss
scaled, float64 images of float64."""


class Stopped(RuntimeError):
    """A run that did not reach its end, with the process's exit status."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def _set_up() -> None:
    """The allocator; no Lightning tips, nor its warnings about choices made here on purpose."""
    keep_freed_memory()
    for name in ("pytorch_lightning", "lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*treespec.*", ".*LeafSpec.*", ".*infer the `batch_size`.*"):
        warnings.filterwarnings("ignore", message=text)


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


class Session:
    """One run from the moment somebody holds its folder to its end. `report` is told what it does and at which step;
    `brief` shows no progress. `usual_metrics`: those of the configuration were not asked for, and where they are not
    for the data nothing is said.
    """

    def __init__(
        self,
        run: Run,
        config: Mapping[str, Any],
        *,
        brief: bool,
        usual_metrics: bool,
        report: Report | None,
    ) -> None:
        self.run = run
        self.config = config
        self.brief = brief
        self.report = report
        self.during = choose(config["metric"], [], by_default=usual_metrics).of_one()
        self.at_end = choose(config["metric"], config["final"], by_default=usual_metrics).of_one()
        self.member = Member(run, config)
        self.curves = Curves(self.member)
        self.checkpoints = Checkpoints(self.member)
        self.started = time.monotonic()
        self.former = run.provenance().get("sessions", [])
        self.record: dict[str, Any] = {}
        self.checkpoint = load(run.last) if run.last.exists() else None

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

    def build(self, device: torch.device, dataset: Dataset | None = None) -> None:
        """Make its parts, `dataset` where it is at hand, and go on from its last checkpoint.

        Raises:
            ConfigError: the parts cannot go together, the images have changed, or a file cannot be read or written.
        """
        self.tell("preparing", self.at_step)
        if self.checkpoint and not self.brief:
            print(f"Continuing from step {self.at_step:,} ({self.run.last})")
        self.run.mark("running", self.run.status()["step"])
        self.record = provenance(str(device), torch.get_num_threads())
        self.built = build(self.config, dataset)
        checksum = self.built.dataset.checksum
        if any(session.get("data_checksum") != checksum for session in self.former):
            raise ConfigError(f"the images have changed since {self.run.path} was begun; force=true starts it again")
        self.record["data_checksum"] = checksum
        self.write_record()
        if not self.brief:
            print(_describe(self.built, self.config, device), f"→ {self.run.path}", sep="\n", flush=True)
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

    def score(self, device: torch.device) -> None:
        """The scores of its last weights, into its folder; then it is finished."""
        self.curves.close()  # a later file of events follows
        started = time.monotonic()
        if self.at_end.metrics:
            if not self.brief:
                print(f"Scoring by {len(self.at_end.metrics)} metrics (final=[] leaves them out) ...", flush=True)
            self.tell("scoring", self.config["steps"])
            said = evaluate(self.run, self.at_end, self.config["score"], built=self.built, device=device)
            if not self.brief and said:
                print(said)
        else:
            write_scores(self.run.path, {}, self.run.metrics(), self.config["steps"])
        self.record.setdefault("seconds", {})["scores"] = round(time.monotonic() - started, 1)
        self.close()
        self.run.mark("finished", self.config["steps"])

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
        step = self.at_step or self.run.status()["step"]  # while building it is not known yet
        try:
            if isinstance(error, Diverged):
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


def fit(
    run: Run,
    config: Mapping[str, Any],
    *,
    force: bool = False,
    brief: bool = False,
    usual_metrics: bool = False,
    report: Report | None = None,
) -> bool:
    """Train to the last step and score; the results are in the run's folder. False if it was finished already.

    The options are those of Session; `force` starts again.

    Raises:
        ConfigError: the parts cannot go together, or a file cannot be read or written.
        Stopped: the loss diverged or a signal came; the last checkpoint is good and the same command continues it.
    """
    _set_up()
    with run.lock():
        if force:
            run.clear()
        elif run.finished():  # by another process, since somebody looked
            return False
        session = Session(run, config, brief=brief, usual_metrics=usual_metrics, report=report)
        trainer = Training([session])
        try:
            with trainer.stop:
                session.build(trainer.device)
                trainer.train()
                session.score(trainer.device)
        except BaseException as error:
            failure = session.failure(error)
            if failure is error:
                raise
            raise failure from error
    return True


class Training:
    """Lightning's trainer with the user's settings, about runs of one structure.

    Raises:
        ConfigError: a setting that would change what a step or a run is.
    """

    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = sessions
        config = sessions[0].config
        self.chunks = Chunks(config["steps"], config["eval_every"], config["checkpoint_every"], sessions[0].at_step)
        self.pace = Pace(self.chunks)
        self.stop = StopOnSignal([session.checkpoints for session in sessions], config)
        callbacks: list[pl.Callback] = []
        for session in sessions:
            callbacks += [session.curves, Scores(session.curves, session.during), session.checkpoints]
            if session.report:
                callbacks.append(Reporting(session.tell))
        if not sessions[0].brief and len(sessions) == 1:
            callbacks.append(Progress(config["steps"], config["batch_size"]))
        settings = dict(config["trainer"])
        self.trainer = _trainer(sessions[0].run, settings, [*callbacks, self.stop, self.pace], self.chunks.stretches())
        self.device = self.trainer.strategy.root_device
        _set_precision(config["trainer"]["precision"], self.device)

    def train(self) -> None:
        """Make the steps that are left, then score the validation and the held-out samples; the terms are kept.

        Raises:
            Diverged, Interrupted: after what can be kept was.
        """
        todo = [session for session in self.sessions if not session.trained]
        if not todo:
            return
        started = time.perf_counter()
        module = self.sessions[0].built.module
        everyone = range(len(module.members))
        if module.step < self.chunks.steps:
            self.trainer.fit(module, train_dataloaders=self.chunks, val_dataloaders=everyone)
        if any(session.member.live and session.built.module.evaluated_at != module.step for session in todo):
            self.trainer.validate(module, dataloaders=everyone, verbose=False)
        metrics = {}
        for session in todo:
            member = session.built.module
            metrics[session] = {f"train/{name}": value for name, value in member.last_terms.items()}
            metrics[session] |= {f"val/{name}": value for name, value in member.evaluation.items()}
        if len(module.members[0].data.held_out_rows) > 1:
            self.trainer.test(module, dataloaders=everyone, verbose=False)
            for session in todo:
                metrics[session] |= {
                    f"held_out/{name}": value for name, value in session.built.module.evaluation.items()
                }
        wall = time.perf_counter() - started
        for session in todo:
            if session.member.live:
                session.run.save_metrics(metrics[session])
                parts = {"training": module.training_s, "validation": self.pace.validation_s}
                parts["checkpoints, curves and the rest"] = wall - sum(parts.values())
                session.record["seconds"] = {name: round(seconds, 1) for name, seconds in parts.items()}


def _trainer(run: Run, chosen: dict[str, Any], callbacks: list[pl.Callback], stretches: int) -> pl.Trainer:
    """Lightning's trainer with the settings `chosen`; those that would change what a step or a run is are refused."""
    owned: dict[str, Any] = {
        "max_steps": -1,
        "max_epochs": stretches,  # one from each validation to the next
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
    one_device = chosen["devices"] in (1, "1") or (isinstance(chosen["devices"], list) and len(chosen["devices"]) == 1)
    if not one_device or chosen["strategy"] != "auto":
        raise ConfigError(
            f"a run trains on one device: trainer.devices must be 1 and trainer.strategy auto, got {chosen['devices']} "
            f"and {chosen['strategy']}"
        )
    if chosen["precision"] not in PRECISIONS:
        raise ConfigError(f"trainer.precision must be {', '.join(PRECISIONS)}, got {chosen['precision']!r}")
    ours = {"gradient_clip_val", "graph"}  # a step is made by our module
    theirs = {key: value for key, value in chosen.items() if key not in ours}
    theirs["precision"] = theirs["precision"].replace("tf32", "32-true")
    try:
        return pl.Trainer(**theirs, **owned)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def _set_precision(precision: str, device: torch.device) -> None:
    """Float32 products of a GPU are exact unless TF32 is asked for, in which case they keep 10 bits of the mantissa."""
    if device.type != "cuda":
        if precision == "tf32":
            raise ConfigError("trainer.precision=tf32 is for a GPU: type trainer.precision=32-true")
        return
    kind = "tf32" if precision == "tf32" else "ieee"
    torch.backends.cuda.matmul.fp32_precision = kind
    torch.backends.cudnn.conv.fp32_precision = kind  # type: ignore[attr-defined]


def preview_schedules(cfg: DictConfig, out: Path) -> None:
    """Draw the schedules that the objective reads, before training, and say where the picture is."""
    from disvae.figure.schedules import schedules

    read = [name for name in cfg.schedule if f"schedule.{name}" in read_keys(cfg)]
    if not read:
        raise ConfigError("preview=schedule has nothing to draw: this objective reads no schedule")
    nodes = OmegaConf.to_container(cfg.schedule, resolve=True)
    assert isinstance(nodes, dict)
    named = {name: make(nodes[name], f"schedule.{name}") for name in map(str, read)}
    path = out / "schedule.png"
    try:
        out.mkdir(parents=True, exist_ok=True)
        schedules(named, cfg.steps).savefig(path, dpi=120)
    except OSError as error:
        raise ConfigError(f"out={out} cannot be written ({error}); choose another with out=PATH") from error
    for name, schedule in named.items():
        marks = [0, cfg.steps // 4, cfg.steps // 2, cfg.steps - 1]
        print(f"{name:<9}" + "  ".join(f"step {step:,}: {schedule(step):.4g}" for step in marks))
    print(f"Schedules drawn in {path}")
