"""One run from start, or from its last checkpoint, to its scores."""

import logging
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from disvae.allocator import keep_freed_memory
from disvae.build import Built, build, count, make
from disvae.callbacks import Checkpoints, Curves, Scores, StopOnSignal
from disvae.checkpoint import AtomicCheckpointIO, copy, load
from disvae.config import ConfigError, read_keys
from disvae.evaluation import choose, evaluate
from disvae.interrupt import Interrupted
from disvae.module import Diverged
from disvae.progress import Progress, Reporting
from disvae.runs import Run, provenance
from disvae.sources import check
from disvae.summary import write_scores
from disvae.task import Report

PRECISIONS = ("32-true", "bf16-mixed")
"""float32, and bfloat16 in the networks alone; float16 would need its loss scaled, float64 images of float64."""


class Stopped(RuntimeError):
    """A run that did not reach its end, with the process's exit status."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


def _quieten() -> None:
    """Lightning's tips and its warnings about choices made here on purpose."""
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


def _resume_point(run: Run) -> tuple[Path | None, int]:
    """The checkpoint to go on from, and its step.

    Raises:
        ConfigError: it cannot be read; the message names what can be done.
    """
    if not run.last.exists():
        return None, 0
    step = load(run.last)["global_step"]
    print(f"Continuing from step {step:,} ({run.last})")
    return run.last, step


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

    `brief` shows no progress; `report` is told of it. `usual_metrics`: those of the configuration were not asked for,
    and where they are not for the data nothing is said.

    Raises:
        ConfigError: the parts cannot go together, or a file cannot be read or written.
        Stopped: the loss diverged or a signal came; the last checkpoint is good and the same command continues it.
    """
    _quieten()
    keep_freed_memory()
    with run.lock():
        if force:
            run.clear()
        elif run.finished():  # by another process, since somebody looked
            return False
        checkpoint, at_step = _resume_point(run)
        sessions = run.provenance().get("sessions", [])
        during = choose(config["metric"], [], by_default=usual_metrics).of_one()
        at_end = choose(config["metric"], config["final"], by_default=usual_metrics).of_one()
        checkpoints = Checkpoints(run, config["checkpoint_every"], config["eval_every"])
        curves = Curves(run.path, config)
        scores = Scores(curves, during, config["steps"], config["score"]["seed"])
        stop = StopOnSignal(checkpoints)
        callbacks = [curves, scores, checkpoints, stop]
        if not brief:
            callbacks.append(Progress(config["steps"], config["batch_size"]))
        if report:
            callbacks.append(Reporting(report))
            report("preparing", at_step)
        trainer = _trainer(run, config, callbacks)
        session = provenance(str(trainer.strategy.root_device), torch.get_num_threads())
        started = time.monotonic()
        run.mark("running", run.status()["step"])
        try:
            with stop:
                built = build(config)
                checksum = built.dataset.checksum
                if any(former.get("data_checksum") != checksum for former in sessions):
                    raise ConfigError(f"the images have changed since {run.path} was begun; force=true starts it again")
                session["data_checksum"] = checksum
                run.create(config, {"sessions": [*sessions, session]})
                if not brief:
                    print(_describe(built, config, trainer.strategy.root_device), f"→ {run.path}", sep="\n", flush=True)
                if at_end.metrics:
                    check(built, config["score"])
                if checkpoint is None or at_step < config["steps"] or "val/elbo" not in run.metrics():
                    run.save_metrics(_train(run, trainer, built, checkpoint, checkpoints))
                curves.close()  # a later file of events follows
                if at_end.metrics:
                    device = trainer.strategy.root_device
                    if not brief:
                        print(f"Scoring by {len(at_end.metrics)} metrics (final=[] leaves them out) ...", flush=True)
                    if report:
                        report("scoring", config["steps"])
                    said = evaluate(run, at_end, config["score"], built=built, device=device)
                    if not brief and said:
                        print(said)
                else:
                    write_scores(run.path, {}, run.metrics(), config["steps"])
        except Diverged as error:
            run.mark("diverged", trainer.global_step, error=str(error))
            good = f"the last good checkpoint is {run.last}" if run.last.exists() else "no checkpoint was reached"
            raise Stopped(f"training diverged at {error}; {good}. Try a lower optimizer.lr", 4) from error
        except Interrupted as error:
            step = trainer.global_step or run.status()["step"]  # while building it is not known yet
            run.mark("interrupted", step, error=str(error))
            raise Stopped(f"{error} at step {step}; the same command continues it", 128 + error.signum) from error
        except BaseException as error:
            state = "interrupted" if isinstance(error, SystemExit) else "failed"  # Slurm's limit: requeued by a handler
            run.mark(state, trainer.global_step or run.status()["step"], error=f"{type(error).__name__}: {error}")
            raise
        finally:
            curves.close()
            if "data_checksum" in session:
                session["wall_s"] = round(time.monotonic() - started, 1)
                run.create(config, {"sessions": [*sessions, session]})
        run.mark("finished", config["steps"])
        return True


def _trainer(run: Run, config: Mapping[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer with the user's settings; those that would change what a step or a run is are refused."""
    chosen = config["trainer"]
    owned = {
        "max_steps": config["steps"],
        "max_epochs": 1,  # of one batch source that lasts the whole run
        "max_time": None,
        "num_nodes": 1,
        "accumulate_grad_batches": 1,
        "fast_dev_run": False,
        "overfit_batches": 0.0,
        "limit_train_batches": 1.0,
        "limit_val_batches": 1.0,
        "limit_test_batches": 1.0,
        "val_check_interval": config["eval_every"],
        "check_val_every_n_epoch": None,
        "num_sanity_val_steps": 0,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "default_root_dir": run.path,
        "plugins": [AtomicCheckpointIO()],
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
        raise ConfigError(f"trainer.precision must be {' or '.join(PRECISIONS)}, got {chosen['precision']!r}")
    try:
        return pl.Trainer(**chosen, **owned)
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error


def _train(
    run: Run, trainer: pl.Trainer, built: Built, checkpoint: Path | None, checkpoints: Checkpoints
) -> dict[str, float]:
    """Fit, then score the validation and the held-out sample; metrics by `stage/tag`."""
    module, data = built.module, built.data
    trainer.fit(module, datamodule=data, ckpt_path=checkpoint, weights_only=True)
    trainer.save_checkpoint(run.last)
    metrics = {f"train/{name}": value for name, value in module.last_terms.items()}
    if module.evaluated_at != trainer.global_step:
        trainer.validate(module, datamodule=data, verbose=False)
        if module.evaluation["elbo"] > checkpoints.best_elbo:
            copy(run.last, run.best)  # the same weights
    metrics |= {f"val/{name}": value for name, value in module.evaluation.items()}
    if len(data.held_out_rows) > 1:
        trainer.test(module, datamodule=data, verbose=False)
        metrics |= {f"held_out/{name}": value for name, value in module.evaluation.items()}
    return metrics


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
