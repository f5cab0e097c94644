"""One real tuning of tiny runs: two rungs, the second of which continues the first, and the same command again."""

import json

import pytest

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.tune import tune
from disvae.tuning.halving import Candidate
from disvae.tuning.trials import Goal, Trials, seconds_of_step

TINY = ("dataset=clusters", "model.encoder_hidden=[4]", "model.decoder_hidden=[4]", "eval_samples=20", "eval_images=50")


@pytest.mark.slow
def test_a_tuning_trains_its_rungs_and_names_the_winner(tmp_path, capfd):
    out = tmp_path / "größte, it's x=1"  # Hydra needs quotes for it
    arguments = [*TINY, "beta=0.1,1,30", "seeds=2", "steps=6", f"out={out}"]
    tune(arguments)
    said = capfd.readouterr().out
    assert "3 candidates, 2 seeds, rungs of 2, 6 steps: 20 steps in all" in said
    (result,) = out.glob("tune/*.json")
    found = json.loads(result.read_text())
    assert [len(each["values"]) for each in found["candidates"]] == [2, 1, 1]
    assert found["command"] in said
    assert result.with_suffix(".png").stat().st_size > 5000
    runs = [Run(path.parent) for path in out.glob("clusters/*/config.yaml")]
    assert sorted(run.config()["steps"] for run in runs) == [2] * 6 + [6] * 2
    grown = next(run for run in runs if run.config()["steps"] == 6)
    assert grown.provenance()["sessions"][0]["continues"]["step"] == 2  # nothing is trained twice
    tune(arguments)
    assert "6 finished before" in capfd.readouterr().out
    assert json.loads(result.read_text())["candidates"] == found["candidates"]


@pytest.mark.slow
def test_a_budget_is_measured_by_as_many_short_runs_as_a_sweep_trains_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of_step = seconds_of_step(Trials(TINY, 2, 1, Goal.of("elbo")), Candidate(("beta=1",)))
    assert 1e-5 < of_step < 0.5
    assert not list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match="beta must be a finite number >= 0, got -1"):
        seconds_of_step(Trials([*TINY, "launcher.processes=1"], 2, 1, Goal.of("elbo")), Candidate(("beta=-1",)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["beta=1,2", "seeds=0"], "seeds must be a whole number >= 1, got '0'"),
        (["beta=1,2", "goal=udr", "seeds=1"], "seeds must be a whole number >= 2, got '1'"),
        (["beta=1,2", "goal=fid"], "goal must be elbo, udr"),
        (["beta=1,2", "budget=2"], "budget must be a time such as"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_trained(arguments, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        tune([*arguments, f"out={tmp_path}"])
    assert not list(tmp_path.iterdir())
