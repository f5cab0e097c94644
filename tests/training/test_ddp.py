"""One run on two devices, as two processes on this CPU: the steps of one, and nothing lost when it is stopped."""

import os
import signal

import pytest
import torch
from test_train import scores, weights
from torch.distributions import Normal

from disvae.config import ConfigError, resolved
from disvae.runs.checkpoint import load
from disvae.runs.folder import Run, digest
from disvae.training import ddp
from disvae.training.ddp import Rank, Shared, first_rank
from disvae.training.loop import fit
from disvae.training.module import VAEModule
from disvae.training.run_trainer import Asked, Stopped

ON_TWO = ("trainer.devices=2", "trainer.accelerator=cpu", "batch_size=32")

help_along = ddp._help


def mean_of(self, shape=()):
    return self.loc


def help_without_noise(rank: Rank, run: Run, config) -> None:
    """A helper whose codes are means, and that leaves its weights beside the run's folder."""
    Normal.rsample = mean_of
    keep = Shared.keep

    def keep_and_save(self, first, values):
        keep(self, first, values)
        torch.save(self.module.state_dict(), run.path.with_suffix(".rank1"))

    Shared.keep = keep_and_save
    help_along(rank, run, config)


def help_and_die(rank: Rank, run: Run, config) -> None:
    """A helper that is killed within the fifth step."""
    gradients = Shared.gradients
    Shared.gradients = lambda self, *some, step, **more: (
        os._exit(3) if step == 5 else gradients(self, *some, step=step, **more)
    )
    help_along(rank, run, config)


@pytest.fixture
def train(composed, tiny, tmp_path):
    """Train a tiny configuration in a folder of `tmp_path`; further calls with the same name go on in it."""

    def go(name: str, *overrides: str) -> Run:
        run = Run(tmp_path / name)
        fit(Asked(run, resolved(composed(*tiny, "metric=[]", *overrides)), brief=True))
        return run

    return go


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["beta_vae", "factor_vae"])
def test_without_noise_two_devices_make_the_steps_of_one(train, monkeypatch, objective):
    monkeypatch.setattr(Normal, "rsample", mean_of)
    monkeypatch.setattr(ddp, "_help", help_without_noise)
    together = train("together", *ON_TWO, f"objective={objective}")
    of_helper = torch.load(together.path.with_suffix(".rank1"))
    assert of_helper.keys() == weights(together).keys()
    for name, value in weights(together).items():
        assert torch.equal(value, of_helper[name]), name
    if objective == "beta_vae":  # the discriminator's codes are permuted within a device
        alone = train("alone", "batch_size=32")
        for name, value in weights(alone).items():
            torch.testing.assert_close(weights(together)[name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert scores(together)["train/loss"] == pytest.approx(scores(alone)["train/loss"], rel=1e-5)
        assert scores(together)["val/elbo"] == pytest.approx(scores(alone)["val/elbo"], rel=1e-4)


@pytest.mark.slow
def test_a_signal_stops_all_ranks_and_the_same_command_goes_on(train, monkeypatch, tmp_path):
    whole = train("whole", *ON_TWO)
    with monkeypatch.context() as patch:
        update = Shared.update

        def update_and_signal(self):
            if self.step == 13:
                os.kill(os.getpid(), signal.SIGTERM)
            update(self)

        patch.setattr(Shared, "update", update_and_signal)
        with pytest.raises(Stopped) as stopped:
            train("stopped", *ON_TWO, "checkpoint_every=15")
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    assert Run(tmp_path / "stopped").status()["step"] <= 15
    run = train("stopped", *ON_TWO)
    assert run.status()["state"] == "finished"
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(run)[name]), name
    assert scores(run) == scores(whole)


@pytest.mark.slow
def test_a_rank_that_dies_ends_the_run_with_its_name(train, monkeypatch, tmp_path):
    monkeypatch.setattr(ddp, "_help", help_and_die)
    with pytest.raises(RuntimeError, match=r"rank 1 \(exit status 3\) of a run on 2 devices died"):
        train("lost", *ON_TWO, "checkpoint_every=3")
    assert Run(tmp_path / "lost").status()["state"] == "failed"
    assert load(Run(tmp_path / "lost").last)["global_step"] == 3


@pytest.mark.slow
def test_a_loss_that_diverges_on_two_devices_ends_as_on_one(train, tmp_path, capfd):
    for name in ("first", "second", "third"):  # whichever rank is the first to say so
        with pytest.raises(Stopped, match="diverged at step 0"):
            train(name, *ON_TWO, "beta=3e38")
        assert Run(tmp_path / name).status()["state"] == "diverged"
    assert "Traceback" not in capfd.readouterr().err


def test_every_image_of_a_batch_is_one_rank_s(composed, tiny):
    from disvae.build import build

    module = build(resolved(composed(*tiny, "objective=factor_vae", "batch_size=32"))).module
    assert isinstance(module, VAEModule)
    whole = module.inputs(3, 2)
    shares = [Shared(module, Rank(rank, 4, 0)).inputs(3, 2) for rank in range(4)]
    for name in ("index", "extra"):
        assert shares[0][name].shape == (2, 8)
        torch.testing.assert_close(torch.cat([share[name] for share in shares], 1), whole[name])
    noise = []
    for rank in range(2):
        Shared(module, Rank(rank, 2, 0)).seed_noise(7)
        noise.append(torch.rand(4))
    module.seed_noise(7)
    torch.testing.assert_close(noise[0], torch.rand(4))
    assert not torch.equal(*noise)


def test_the_number_of_devices_is_part_of_a_run_but_which_is_not(composed, tiny):
    def config(*overrides: str) -> dict:
        return resolved(composed(*tiny, *overrides))

    assert digest(config()) == digest(config("trainer.devices=[1]"))
    assert digest(config()) != digest(config("trainer.devices=2"))
    assert digest(config("trainer.devices=2")) == digest(config("trainer.devices=[2,3]"))
    assert first_rank(config()) is None
    with pytest.raises(ConfigError, match=r"batch_size must be a multiple of trainer\.devices=3, got 64"):
        first_rank(config("trainer.devices=3", "batch_size=64"))
    for wrong in ("trainer.devices=auto", "trainer.devices=0", "trainer.strategy=fsdp"):
        with pytest.raises(ConfigError, match="trainer"):
            first_rank(config(wrong))
