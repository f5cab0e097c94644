"""The identity of a run at Weights & Biases, with a stand-in for their package."""

import sys
from types import SimpleNamespace

import pytest

from disvae.logger.wandb import wandb


@pytest.fixture
def begun(monkeypatch):
    """The identities of the runs that were begun, whose sessions are folders as theirs."""
    seen = []

    def init(*, dir, id, **_):
        seen.append(id)
        (dir / "wandb" / f"offline-run-20260102_03040{len(seen)}-{id}").mkdir(parents=True)
        return SimpleNamespace(define_metric=lambda *_, **__: None)

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init))
    monkeypatch.setattr("disvae.logger.wandb.Wandb", lambda **_: None)
    return seen


def test_a_resumed_run_is_the_same_and_each_repeat_another(begun, tmp_path):
    run = tmp_path / "beta=2-0123abcd"
    for step in (0, 5):
        wandb(run, step, "disvae", offline=True)
    for step in (0, 5, 0):
        wandb(run / ".new", step, "disvae", offline=True)
    whole, resumed, repeat, goes_on, second = begun
    assert whole == resumed == "0123abcd"
    assert repeat == goes_on != second
    assert {repeat[:9], second[:9]} == {"0123abcd-"}
