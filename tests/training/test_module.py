"""A step on a GPU: Python never waits for the device, all tensors are made there, and terms are fetched when due.

The meta device stands for a GPU. It computes nothing, so a number that Python asks for, a branch on a tensor and
a tensor of another device raise there.
"""

import copy

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import SingleDeviceStrategy

from disvae.build import build
from disvae.config import options
from disvae.dataset.batches import Batch
from disvae.training.build_module import build_module
from disvae.training.data_module import DataModule
from disvae.training.module import NORM, clip_gradients
from disvae.training.packed.module import PackedDataModule, PackedModule
from disvae.training.trainer import set_up
from tests.training.device import META, NoWaitForCopies, OnDevice, stand_in_for_a_gpu
from tests.training.on_points import POINTS


def test_every_option_goes_with_some_others(combinations):
    used = {word for names in combinations for word in names.split()}
    assert used == {name for group in ("objective", "divergence", "prior", "posterior") for name in options(group)}


@pytest.mark.slow
def test_a_step_of_every_two_options_neither_waits_for_the_device_nor_mixes_devices(combinations):
    failed = {}
    for names, made in combinations.items():
        module = copy.deepcopy(made).to(META)
        optimizer = module.new_optimizer()
        x = torch.rand(17, *POINTS, device=META)
        x_extra = torch.rand(17 * module.objective.extra_batches, *POINTS, device=META)
        try:
            with OnDevice():
                terms = module.compute_terms(Batch(x, x_extra), 3)
                terms["loss"].backward()
                row = module.row_of({**terms, NORM: clip_gradients(module.parameters(), 1.0)})
            optimizer.step()  # it may count on the host, which a GPU's own settings avoid
        except (AssertionError, NotImplementedError, RuntimeError) as error:
            failed[names] = str(error).partition("\n")[0]
            continue
        assert row.shape == (len(module.names),)
    assert not failed


class OnMeta(SingleDeviceStrategy):
    """Trains on the meta device, from which nothing can be moved back at the end."""

    def __init__(self):
        super().__init__(device=META)

    def setup_environment(self):
        """Prepare nothing, for there is no accelerator."""

    def teardown(self):
        """Leave the module where it is."""


class Watch(pl.Callback):
    """Watch copies from the first step on, and count the steps that ended."""

    def __init__(self, copies):
        self.copies = copies
        self.steps = 0

    def on_train_start(self, trainer, pl_module):
        self.copies.watching = True

    def on_train_batch_end(self, *_):
        self.steps += 1


def built_of(configured, *overrides):
    config = configured(" ".join(("dataset.points=50", "batch_size=20", "eval_every=1000", "log_every=6", *overrides)))
    built = build(config)
    return config, built.data, build_module(config, built, torch.device("cpu"))


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("objective", ["beta_vae", "factor_vae"])
def test_lightnings_loop_waits_for_the_device_only_at_the_step_whose_terms_are_due(
    configured, monkeypatch, objective, together
):
    set_up()
    _, data, module = built_of(configured, f"objective={objective}")
    data.images, data.device = data.images.to(META), META
    datamodule = DataModule(data, 20)
    if together:
        module = PackedModule(
            [module, built_of(configured, f"objective={objective}", "seed=1")[2]],
            [None, None],
            failed=lambda member, error: None,
            log=lambda member, values, step: None,
            graph=False,
        )
        stand_in_for_a_gpu(monkeypatch)
        datamodule = PackedDataModule([data, data], 20)
    watch = Watch(copies := NoWaitForCopies())
    names = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary", "inference_mode")
    settings = {**dict.fromkeys(names, False), "max_steps": 20, "limit_val_batches": 0}
    trainer = pl.Trainer(strategy=OnMeta(), callbacks=[watch], **settings)
    with copies, pytest.raises((AssertionError, NotImplementedError), match=r"meta to cpu|out of meta"):
        trainer.fit(module, datamodule=datamodule)
    assert watch.steps == 6
    assert len(module.rows) == 6  # all were still on the device, about to be fetched
    assert trainer.global_step == 6
