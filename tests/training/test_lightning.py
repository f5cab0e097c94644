"""Lightning as people know it: module, data, checkpoints, callbacks, loggers, schedulers and the trainer's settings."""

import csv
import inspect
import os
import signal
import sys
from typing import Any
from unittest.mock import MagicMock

import pytest
import pytorch_lightning as pl
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.build import build
from disvae.config import OF_LIGHTNING, ConfigError, resolved
from disvae.logger import wandb
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run
from disvae.runs.tags import logged
from disvae.training import trainer as trainer_module
from disvae.training.callbacks import Checkpoints
from disvae.training.data_module import StepRows
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.module import VAEModule
from disvae.training.run_trainer import Stopped


@pytest.fixture
def train(composed, tiny, tmp_path):
    """Train a tiny configuration in a folder of `tmp_path`; a further call with the same name goes on in it."""

    def run(name: str, *overrides: str) -> Run:
        found = Run(tmp_path / name)
        train_run(Job(found, resolved(composed(*tiny, *overrides)), brief=True))
        return found

    return run


def points(run: Run, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.path)).Reload()
    return [(point.step, point.value) for point in events.Scalars(*logged({tag: 0}))]


def stop_after(monkeypatch, steps: int) -> None:
    """Let a signal arrive during the step after `steps` others, once."""
    original, sent = VAEModule.training_step, []

    def training_step(self, batch, batch_idx):
        if self.global_step == steps and not sent:
            sent.append(steps)
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", training_step)


def test_a_checkpoint_is_loaded_as_lightning_loads_one(train):
    run = train("run", "objective=decomposition", "prior=mixture", "alpha=1")
    module = VAEModule.load_from_checkpoint(run.last)
    assert not module.training
    assert load(run.last)["hyper_parameters"]["N"] == module.N
    for name, value in load(run.last)["state_dict"].items():
        assert torch.equal(module.state_dict()[name], value), name
    x = torch.rand(3, *load(run.last)["hyper_parameters"]["x_shape"])
    assert module.vae.encode(x).mean.shape == (3, module.vae.prior.z_dim)


def test_a_damaged_checkpoint_is_not_loaded(train):
    run = train("run")
    content = bytearray(run.last.read_bytes())
    weight = next(value for value in load(run.last)["state_dict"].values() if value.numel() > 100)
    content[content.index(weight.numpy().tobytes())] ^= 1
    run.last.write_bytes(content)
    with pytest.raises(ConfigError, match=r"last\.ckpt"):
        VAEModule.load_from_checkpoint(run.last)


def test_the_trainers_step_is_the_step_and_a_batch_is_one_step(train, monkeypatch):
    seen = []
    original = VAEModule.on_train_batch_end

    def on_train_batch_end(self, outputs, batch, batch_idx):
        seen.append((self.trainer.global_step, batch_idx, len(batch.x)))
        original(self, outputs, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "on_train_batch_end", on_train_batch_end)
    train("run", "batch_size=50")
    assert seen == [(step, step - 1, 50) for step in range(1, 21)]


def test_what_a_module_logs_goes_to_the_runs_loggers_at_the_step(train, monkeypatch):
    original = VAEModule.training_step

    def training_step(self, batch, batch_idx):
        self.log("mine", float(self.global_step + 1))
        return original(self, batch, batch_idx)

    monkeypatch.setattr(VAEModule, "training_step", training_step)
    assert points(train("run"), "mine") == [(5, 5), (10, 10), (15, 15), (20, 20)]


def test_every_scalar_of_tensorboard_goes_to_every_logger(train):
    run = train("run", "logger=[tensorboard,csv]", "final=[active_units]", "metric=[active_units]")
    with (run.path / "csv" / "from-step-0" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    events = EventAccumulator(str(run.path)).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"while_training/loss", "val/elbo", "verbose/metric/active_units/count"} <= tags
    assert tags <= rows[0].keys()
    for tag, shown in (("train/loss", "while_training/loss"), ("val/elbo", "val/elbo")):
        table = [(int(row["step"]), float(row[shown])) for row in rows if row[shown]]
        assert table == [(step, pytest.approx(value)) for step, value in points(run, tag)]


def test_early_stopping_ends_a_run_that_has_stopped_improving(train):
    settings = ("callbacks=[early_stopping]", "callbacks.early_stopping.patience=1", "eval_every=2")
    run = train("run", *settings, "callbacks.early_stopping.min_delta=1000")
    assert run.finished()
    assert run.status()["step"] == 4  # the first validation is the best, the second ends the run
    assert load(run.last)["global_step"] == 4
    assert points(run, "val/elbo")[-1][0] == 4


def test_the_learning_rate_is_a_curve(train):
    run = train("run", "callbacks=[lr_monitor]", "scheduler=step", "scheduler.every=10", "optimizer.lr=0.01")
    assert points(run, "train/lr/0") == [
        (step, pytest.approx(lr)) for step, lr in ((5, 0.01), (10, 0.01), (15, 0.005), (20, 0.005))
    ]


def test_the_cosine_ends_at_its_last_value(train):
    run = train("run", "scheduler=cosine", "scheduler.last=0.001", "optimizer.lr=0.01", "log_every=1",
                "callbacks=[lr_monitor]")  # fmt: skip
    lr = dict(points(run, "train/lr/0"))
    assert lr[1] == pytest.approx(0.01)
    assert lr[11] == pytest.approx(0.0055)
    assert lr[20] < 0.0012


@pytest.mark.parametrize("stop", [7, 9, 10])
@pytest.mark.parametrize("scheduler", ["cosine", "plateau"])
def test_a_resumed_run_with_a_scheduler_and_callbacks_equals_the_uninterrupted_one(train, monkeypatch, scheduler, stop):
    settings = (f"scheduler={scheduler}", "eval_every=5", "callbacks=[early_stopping,lr_monitor]", "log_every=1")
    if scheduler == "plateau":
        settings += ("scheduler.patience=0", "scheduler.factor=0.1", "optimizer.lr=0.1")
    whole = train("whole", *settings)
    stop_after(monkeypatch, stop)
    with pytest.raises(Stopped):
        train("stopped", *settings)
    stopped = train("stopped", *settings)
    assert points(stopped, "train/lr/0") == points(whole, "train/lr/0")
    for name, value in load(whole.last)["state_dict"].items():
        assert torch.equal(load(stopped.last)["state_dict"][name], value), name
    assert stopped.metrics() == whole.metrics()


def test_every_setting_of_the_trainer_works_or_is_refused_by_name():
    works = {"accelerator", "devices", "precision", "gradient_clip_val", *OF_LIGHTNING}
    assert set(inspect.signature(pl.Trainer).parameters) == works | trainer_module.INSTEAD.keys()


@pytest.mark.parametrize("key", sorted(trainer_module.INSTEAD))
def test_a_setting_that_would_change_a_run_is_refused_by_name(train, key):
    with pytest.raises(ConfigError, match=rf"trainer\.{key} is set by disvae: "):
        train("run", f"+trainer.{key}=1")


def test_the_profiler_leaves_its_table_in_the_runs_folder(train):
    run = train("run", "debug=profiler", "steps=4", "eval_every=4")
    (table,) = run.path.glob("*profile*")
    assert "training_step" in table.read_text()


def test_overfitting_trains_on_the_same_images_at_every_step_and_scores_them(composed, tiny):
    built = build(resolved(composed(*tiny, "debug=overfit", "objective=factor_vae", "beta=1")))
    trained = sorted(built.data.train_rows.tolist())
    steps = StepRows(built.data.batches, 0, 3)
    assert len(trained) == 32
    assert all(sorted(rows.tolist()) == trained for step in steps for rows in step.values())
    assert sorted(built.data.validation_rows.tolist()) == trained


def test_a_checkpoint_of_an_earlier_version_is_resumed(train, monkeypatch):
    whole = train("whole")
    stop_after(monkeypatch, 11)
    with pytest.raises(Stopped):
        train("run")
    run = Run(whole.path.parent / "run")
    content = load(run.last)
    torch.save({key: content[key] for key in ("global_step", "state_dict", "optimizer_states", "terms", "best_elbo")},
               run.last)  # fmt: skip
    (run.path / "digests.json").unlink()  # which it had none of
    train("run")
    assert run.metrics() == whole.metrics()


def test_a_checkpoint_due_at_a_validation_is_written_once_and_after_it(train, monkeypatch):
    written = []
    original = Checkpoints.write

    def write(self, trainer, path):
        written.append((path.name, trainer.global_step, self.member.built.evaluated_at))
        original(self, trainer, path)

    monkeypatch.setattr(Checkpoints, "write", write)
    train("run", "eval_every=10", "checkpoint_every=10")
    assert [entry for entry in written if entry[0] == "last.ckpt"] == [("last.ckpt", 10, 10), ("last.ckpt", 20, 20)]


def test_each_run_and_each_repeat_is_a_run_of_its_own_at_weights_and_biases(composed, tiny, tmp_path, monkeypatch):
    begun: list[MagicMock] = []

    def init(**settings: Any) -> MagicMock:
        begun.append(MagicMock(**settings))
        return begun[-1]

    monkeypatch.setitem(sys.modules, "wandb", MagicMock(init=init))
    monkeypatch.setattr(wandb.Wandb, "__init__", lambda logger, **given: vars(logger).update(given=given))
    monkeypatch.setattr(wandb.Wandb, "experiment", property(lambda logger: logger.given["experiment"]))
    monkeypatch.setattr(wandb.Wandb, "save_dir", property(lambda logger: logger.given["save_dir"]))
    for method in ("log_hyperparams", "log_metrics", "after_save_checkpoint", "finalize"):
        monkeypatch.setattr(wandb.Wandb, method, MagicMock())
    run, config = Run(tmp_path / "beta=2-0123abcd"), resolved(composed(*tiny, "logger=[wandb]"))
    train_run(Job(run, config, brief=True))
    train_run(Job(run, config, force=True, brief=True))
    (one, again), identity = [each.id for each in begun], "0123abcd"
    assert one == identity
    assert again.startswith(f"{identity}-")
    assert {each.reinit for each in begun} == {"create_new"}
    assert [each.finish.call_count for each in begun] == [1, 1]


def test_a_repeat_brings_the_files_of_every_logger(composed, tiny, tmp_path):
    run = Run(tmp_path / "run")
    config = resolved(composed(*tiny, "logger=[tensorboard,csv]", "+trainer.profiler=simple"))
    table = run.path / "csv" / "from-step-0" / "metrics.csv"
    train_run(Job(run, config, brief=True))
    first = table.read_text()
    table.write_text("old")
    (later := table.parents[1] / "from-step-10").mkdir()
    (later / "metrics.csv").write_text("of a session that went on")
    train_run(Job(run, config, force=True, brief=True))
    assert table.read_text() == first
    assert not later.exists()
    assert list(run.path.glob("*profile*"))
    assert not list(run.path.glob(".new"))
