"""Runs trained together: each as if alone, whatever becomes of the others."""

import os
import signal
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.batches import Chunks
from disvae.config import ConfigError, resolved
from disvae.runs.checkpoint import load
from disvae.runs.folder import InUse, Run
from disvae.training.loop import fit, fit_together
from disvae.training.packed.module import Packed
from disvae.training.run_trainer import Asked, Stopped

TOLERANCE = 1e-3
"""Of terms after 20 steps, relative; float32 rounding that training has made larger."""


@pytest.fixture
def asked(composed, tiny, tmp_path):
    """A run asked for, in a folder of `tmp_path`."""

    def make(name: str, *overrides: str, **options) -> Asked:
        return Asked(Run(tmp_path / name), resolved(composed(*tiny, *overrides)), brief=True, **options)

    return make


def together(*runs: Asked) -> list[bool | BaseException]:
    """How each of them ended."""
    outcomes: dict[int, bool | BaseException] = {}

    def done(i: int, outcome: bool | BaseException) -> None:
        assert i not in outcomes
        outcomes[i] = outcome

    fit_together(runs, lambda i: None, done)
    return [outcomes[i] for i in range(len(runs))]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.last)["state_dict"]


def same_to_the_bit(one: Run, other: Run) -> bool:
    return one.metrics() == other.metrics() and all(
        torch.equal(value, weights(other)[name]) for name, value in weights(one).items()
    )


def curve(run: Run, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.path))
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(tag)]


KINDS = [
    ("objective=beta_tc", "batch_size=50"),
    # of the published 6 x 1000 units some are so near their kink that rounding decides on which side of it they are
    ("objective=factor_vae", "batch_size=50", "objective.width=50", "objective.layers=2"),
    ("objective=decomposition", "prior=mixture", "alpha=2", "schedule@schedule.alpha=linear"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_run_leaves_the_folder_it_would_have_left_alone(asked, kind):
    settings = [(*kind, f"seed={seed}") for seed in (0, 1, 2)]
    packed = [asked(f"packed{i}", *overrides) for i, overrides in enumerate(settings)]
    assert together(*packed) == [True, True, True]
    for i, overrides in enumerate(settings):
        alone = asked(f"alone{i}", *overrides)
        assert fit(alone)
        run = packed[i].run
        names = {path.name for path in run.path.iterdir() if not path.name.startswith("events")}
        assert names == {path.name for path in alone.run.path.iterdir() if not path.name.startswith("events")}
        assert run.config() == alone.run.config()
        assert run.status()["state"] == "finished"
        assert run.metrics().keys() == alone.run.metrics().keys()
        for name, value in alone.run.metrics().items():
            assert run.metrics()[name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), name
        for tag in ("train/loss", "val/elbo"):
            steps, values = zip(*curve(run, tag), strict=True)
            expected_steps, expected = zip(*curve(alone.run, tag), strict=True)
            assert steps == expected_steps
            assert values == pytest.approx(expected, rel=TOLERANCE)
        assert load(run.best)["global_step"] == load(alone.run.best)["global_step"]
        assert run.provenance()["sessions"][0]["packed"] == 3
        assert load(run.last)["optimizer_states"][0].keys() == load(alone.run.last)["optimizer_states"][0].keys()
        assert run.last.stat().st_size < 1.2 * alone.run.last.stat().st_size  # its own tensors, not the stack's


def stop_at(monkeypatch, step: int) -> None:
    """Let a signal arrive in the middle of a step, once."""
    original = Packed.update
    sent = []

    def update(self):
        if self.step == step and not sent:
            sent.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    monkeypatch.setattr(Packed, "update", update)


@pytest.mark.parametrize("stop", [3, 9, 16])
@pytest.mark.parametrize("objective", ["beta_tc", "factor_vae"])
def test_stopped_runs_go_on_together_to_the_same_numbers(asked, monkeypatch, stop, objective):
    def runs(where: str) -> list[Asked]:
        kind = (f"objective={objective}", "batch_size=50")
        return [asked(f"{where}{seed}", *kind, f"seed={seed}") for seed in (0, 1)]

    whole = runs("whole")
    assert together(*whole) == [True, True]
    stop_at(monkeypatch, stop)
    stopped = runs("stopped")
    for outcome, one in zip(together(*stopped), stopped, strict=True):
        assert isinstance(outcome, Stopped)
        assert outcome.exit_status == 128 + signal.SIGTERM
        assert one.run.status()["state"] == "interrupted"
        assert load(one.run.last)["global_step"] == one.run.status()["step"] == stop + 1
    assert together(*stopped) == [True, True]
    for one, other in zip(stopped, whole, strict=True):
        assert same_to_the_bit(one.run, other.run)


def test_a_run_begun_with_others_goes_on_alone(asked, monkeypatch):
    stop_at(monkeypatch, 9)
    first, second = asked("first"), asked("second", "seed=1")
    together(first, second)
    assert fit(first)
    alone = asked("alone")
    fit(alone)
    assert first.run.metrics()["val/elbo"] == pytest.approx(alone.run.metrics()["val/elbo"], rel=TOLERANCE)


def test_a_run_that_diverges_ends_at_once_and_the_others_go_on(asked):
    kind = ("objective=decomposition", "alpha=0", "checkpoint_every=5")
    fine, bad, good = (
        asked(name, *kind, f"seed={seed}", f"beta={beta}")
        for name, seed, beta in (("fine", 0, "1"), ("bad", 1, "3e38"), ("good", 2, "2"))
    )
    outcomes = together(fine, bad, good)
    assert [outcomes[0], outcomes[2]] == [True, True]
    assert isinstance(outcomes[1], Stopped)
    assert outcomes[1].exit_status == 4
    assert "diverged at step 0: " in str(outcomes[1])
    assert bad.run.status()["state"] == "diverged"
    assert not bad.run.metrics()
    for one in (fine, good):
        alone = asked(f"alone-{one.run.path.name}", *kind)
        alone = Asked(alone.run, one.config, brief=True)
        fit(alone)
        assert one.run.metrics()["val/elbo"] == pytest.approx(alone.run.metrics()["val/elbo"], rel=TOLERANCE)


def test_a_run_that_diverges_in_the_middle_of_a_chunk_costs_the_others_no_step(asked, monkeypatch):
    monkeypatch.setattr(Chunks, "PACE", 1e9)  # chunks double: 13 is in the middle of one
    update = Packed.update

    def update_and_break(self):
        update(self)
        if self.step == 12:
            with torch.no_grad():
                next(self.everyone[1].parameters()).fill_(torch.nan)

    monkeypatch.setattr(Packed, "update", update_and_break)
    kind = ("log_every=1", "checkpoint_every=5")
    fine, bad, good = runs = [asked(f"run{seed}", *kind, f"seed={seed}") for seed in range(3)]
    assert [outcome is True for outcome in together(*runs)] == [True, False, True]
    assert "step 13: " in bad.run.status()["error"]
    assert load(bad.run.last)["global_step"] == 10
    assert [step for step, _ in curve(bad.run, "train/loss")] == list(range(1, 14))
    for one in (fine, good):
        alone = Asked(Run(one.run.path.with_name(f"alone-{one.run.path.name}")), one.config, brief=True)
        fit(alone)
        assert load(one.run.last)["global_step"] == 20
        assert load(one.run.best)["global_step"] == load(alone.run.best)["global_step"]
        for tag in ("train/loss", "val/elbo"):
            assert [step for step, _ in curve(one.run, tag)] == [step for step, _ in curve(alone.run, tag)]
        assert one.run.metrics()["val/elbo"] == pytest.approx(alone.run.metrics()["val/elbo"], rel=TOLERANCE)


def test_runs_split_otherwise_are_trained_apart(asked):
    halves = (("split.validation=0", "split.held_out=0.2"), ("split.validation=0.2", "split.held_out=0"))
    runs = [asked(f"run{i}", "batch_size=50", *half) for i, half in enumerate(halves)]
    assert together(*runs) == [True, True]
    held_out = [any(name.startswith("held_out/") for name in one.run.metrics()) for one in runs]
    assert held_out == [True, False]
    together(*reversed(again := [asked(f"again{i}", "batch_size=50", *half) for i, half in enumerate(halves)]))
    assert [one.run.metrics() for one in again] == [one.run.metrics() for one in runs]


def test_when_all_diverge_each_says_so(asked):
    outcomes = together(*(asked(f"run{seed}", "beta=3e38", f"seed={seed}") for seed in (0, 1)))
    assert [getattr(outcome, "exit_status", None) for outcome in outcomes] == [4, 4]


def test_what_does_not_fit_together_is_trained_alone_to_the_bit(asked, monkeypatch):
    sizes = []
    original = Packed.__init__

    def init(self, members, failed):
        sizes.append(len(members))
        original(self, members, failed)

    monkeypatch.setattr(Packed, "__init__", init)
    kind = ("objective=beta_tc", "batch_size=50")
    runs = [
        asked("a", *kind),
        asked("b", *kind, "objective.estimator=mss"),
        asked("c", *kind, "seed=1", "beta=2", "schedule@schedule.beta=cosine"),
        asked("d", *kind, "z_dim=3"),
    ]
    assert together(*runs) == [True] * 4
    assert sizes == [2]
    alone = asked("alone", *kind, "z_dim=3")
    fit(alone)
    assert same_to_the_bit(runs[3].run, alone.run)


def test_runs_in_bfloat16_are_trained_one_after_another(asked):
    kind = ("trainer.precision=bf16-mixed",)
    assert together(asked("a", *kind), asked("b", *kind, "seed=1")) == [True, True]
    alone = asked("alone", *kind, "seed=1")
    fit(alone)
    assert same_to_the_bit(Run(alone.run.path.parent / "b"), alone.run)


def test_runs_at_different_steps_do_not_become_one(asked, monkeypatch):
    stop_at(monkeypatch, 9)
    together(asked("a"), asked("b", "seed=1"))
    assert together(asked("a"), asked("b", "seed=1"), asked("c", "seed=2")) == [True] * 3
    alone = asked("alone", "seed=2")
    fit(alone)
    assert same_to_the_bit(Run(alone.run.path.parent / "c"), alone.run)


def test_what_concerns_one_run_ends_that_one(asked):
    finished, busy, damaged, other, fine = (asked(f"run{seed}", f"seed={seed}") for seed in range(5))
    fit(finished)
    damaged.run.path.mkdir()
    damaged.run.last.write_bytes(b"no checkpoint")
    other = Asked(other.run, {**other.config, "objective": {**other.config["objective"], "beta": -1}}, brief=True)
    lock = busy.run.lock()
    outcomes = together(finished, busy, damaged, other, fine)
    lock.release()
    assert outcomes[0] is False
    assert isinstance(outcomes[1], InUse)
    assert isinstance(outcomes[2], ConfigError)
    assert "last.ckpt cannot be read" in str(outcomes[2])
    assert isinstance(outcomes[3], ConfigError)
    assert outcomes[4] is True
    assert other.run.status()["state"] == "failed"


def test_runs_that_are_repeated_together_keep_what_they_hold_until_they_are_finished(asked, monkeypatch):
    first = [asked(f"run{seed}", f"seed={seed}") for seed in (0, 1)]
    assert together(*first) == [True, True]
    before = [one.run.last.read_bytes() for one in first]
    forced = [asked(f"run{seed}", f"seed={seed}", force=True) for seed in (0, 1)]
    stop_at(monkeypatch, 9)
    assert [outcome.exit_status for outcome in together(*forced)] == [143, 143]
    assert [one.run.last.read_bytes() for one in first] == before
    assert all(one.run.finished() for one in first)
    assert together(*forced) == [True, True]
    for one in first:
        assert one.run.finished()
        assert [step for step, _ in curve(one.run, "train/loss")] == [5, 10, 15, 20]
        assert [session["packed"] for session in one.run.provenance()["sessions"]] == [2, 2]
        assert not one.run.place(force=True).path.exists()


def test_an_error_of_the_training_itself_ends_all_and_keeps_their_checkpoints(asked, monkeypatch):
    original = Packed.update

    def update(self):
        if self.step == 12:
            raise RuntimeError("the device is gone")
        original(self)

    monkeypatch.setattr(Packed, "update", update)
    runs = [asked(f"run{seed}", f"seed={seed}", "checkpoint_every=5") for seed in (0, 1)]
    for outcome, one in zip(together(*runs), runs, strict=True):
        assert str(outcome) == "the device is gone"
        assert one.run.status()["state"] == "failed"
        assert load(one.run.last)["global_step"] == 10
    monkeypatch.undo()
    assert together(*runs) == [True, True]


def test_what_is_printed_says_whose_it_is(asked):
    turns: list[int | None] = []
    fit_together([asked("a"), asked("b", "seed=1")], turns.append, lambda i, outcome: None)
    assert turns == [0, 1, None, 0, 1]


def test_a_signal_before_training_ends_all(asked, monkeypatch):
    def build(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("disvae.training.run_trainer.build", build)
    outcomes = together(asked("a"), asked("b", "seed=1"))
    assert [getattr(outcome, "exit_status", None) for outcome in outcomes] == [130, 130]


def test_a_folder_is_free_as_soon_as_its_run_has_ended(asked, tmp_path):
    free: list[bool] = []

    def done(i: int, outcome: bool | BaseException) -> None:
        lock = Run(Path(tmp_path / "ab"[i])).lock()
        free.append(True)
        lock.release()

    fit_together([asked("a"), asked("b", "seed=1")], lambda i: None, done)
    assert free == [True, True]
