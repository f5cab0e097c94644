"""Lightning's Trainer with the user's settings: what passes through, and what is refused since it is set elsewhere."""

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.loggers import Logger
from pytorch_lightning.profilers import AdvancedProfiler, Profiler, SimpleProfiler

from disvae.config import ConfigError
from disvae.system.memory import keep_freed_memory
from disvae.training.checkpoint_io import AtomicCheckpointIO

INSTEAD = {
    "max_steps": "type steps=N",
    "max_epochs": "type steps=N",
    "min_steps": "type steps=N",
    "min_epochs": "type steps=N",
    "max_time": "stop a run with Ctrl-C; the same command continues it",
    "fast_dev_run": "type steps=1 eval_every=1",
    "overfit_batches": "type split.train=32, or debug=overfit",
    "limit_train_batches": "type steps=N",
    "limit_val_batches": "type eval_images=N",
    "limit_test_batches": "type eval_images=N",
    "limit_predict_batches": "nothing is predicted in training",
    "val_check_interval": "type eval_every=N",
    "check_val_every_n_epoch": "type eval_every=N",
    "num_sanity_val_steps": "type eval_every=1 steps=1 to try a validation",
    "log_every_n_steps": "type log_every=N",
    "accumulate_grad_batches": "type batch_size=N",
    "gradient_clip_algorithm": "gradients are clipped by their norm: trainer.gradient_clip_val=N",
    "logger": "type logger=[tensorboard,csv]",
    "callbacks": "type callbacks=[early_stopping]",
    "enable_checkpointing": "type checkpoint_every=N",
    "enable_progress_bar": "progress is shown where a terminal is",
    "enable_model_summary": "the run's first lines name the networks",
    "default_root_dir": "type out=FOLDER",
    "inference_mode": "scores are computed without gradients",
    "use_distributed_sampler": "a run trains on one device",
    "num_nodes": "a run trains on one device; a sweep uses all devices, a run each",
    "strategy": "a run trains on one device; a sweep uses all devices, a run each",
    "sync_batchnorm": "a run trains on one device",
    "reload_dataloaders_every_n_epochs": "the batch of a step is a function of seed and step",
    "plugins": "trainer.precision=bf16-mixed sets the one that is usual",
    "barebones": "it would leave out checkpoints and curves",
    "model_registry": "checkpoints are in the run's folder",
    "enable_autolog_hparams": "type logger=[]",
}
"""Settings of Lightning's Trainer that would change what a step or a run is, and what to type for the purpose."""

PROFILERS: dict[str, type[Profiler]] = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}


def set_up() -> None:
    """Tune the allocator; silence Lightning's tips and its warnings about choices that are made here on purpose."""
    keep_freed_memory()
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (".*does not have many workers.*", ".*treespec.*", ".*LeafSpec.*", ".*infer the `batch_size`.*"):
        warnings.filterwarnings("ignore", message=text)


def trainer_of(
    folder: Path,
    config: Mapping[str, Any],
    callbacks: Sequence[pl.Callback],
    loggers: Sequence[Logger],
    checkpoint_io: AtomicCheckpointIO,
) -> pl.Trainer:
    """Return Lightning's trainer for the runs of one configuration.

    Raises:
        ConfigError: a setting that would change what a step or a run is, or that Lightning does not take.
    """
    settings = dict(config["trainer"])
    for key in settings.keys() & INSTEAD.keys():
        raise ConfigError(f"trainer.{key} is set by disvae: {INSTEAD[key]}")
    for ours in ("gradient_clip_val", "graph"):  # the module clips, training/cuda_graph.py records
        settings.pop(ours)
    precision = settings.pop("precision")
    profiler = settings.get("profiler")
    if profiler is not None:
        settings["profiler"] = PROFILERS[profiler](dirpath=folder, filename="profile")
    try:
        trainer = pl.Trainer(
            **settings,
            precision=precision.replace("tf32", "32-true"),
            max_steps=config["steps"],
            val_check_interval=config["eval_every"],
            check_val_every_n_epoch=None,  # the training data are one endless epoch
            num_sanity_val_steps=0,
            log_every_n_steps=config["log_every"],
            inference_mode=False,
            logger=list(loggers),
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=list(callbacks),
            plugins=[checkpoint_io],
        )
    except (TypeError, ValueError, MisconfigurationException) as error:
        raise ConfigError(f"trainer: {error}") from error
    _set_products(precision, trainer.strategy.root_device)
    return trainer


def _set_products(precision: str, device: torch.device) -> None:
    """Multiply float32 numbers exactly on a GPU, or, if TF32 is asked for, with 10 bits of the mantissa."""
    if device.type != "cuda":
        if precision == "tf32":
            raise ConfigError("trainer.precision=tf32 is for a GPU: type trainer.precision=32-true")
        return
    set_products(tf32=precision == "tf32")


def set_products(tf32: bool) -> None:
    """Set how float32 products and convolutions are computed from here on."""
    # By this name, for Lightning asks by it, and torch refuses to tell where only the newer one was set.
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]  # those of the CPU stay exact
    torch.backends.cudnn.conv.fp32_precision = "tf32" if tf32 else "ieee"  # type: ignore[attr-defined]
