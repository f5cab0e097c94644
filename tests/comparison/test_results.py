"""Rows are what lies in run folders and sweeps' records, each run once; a damaged one is a failed run."""

import pytest

from disvae.comparison.results import collect, typed_value
from disvae.comparison.row import Row
from disvae.config import ConfigError, resolved
from tests.comparison.fabricated import add_udr, fabricate, record

MIG = "metric/mig/histogram"


@pytest.fixture(scope="module")
def config(composed):
    return resolved(composed("dataset=clusters", "steps=20"))


def test_a_finished_run_is_read_in_full(config, tmp_path):
    run = fabricate(tmp_path, config, 4, 1, mig=0.5)
    add_udr(run, 0.7, [run])
    (row,) = collect([tmp_path])
    assert (row.name, row.path, row.state, row.step) == (run.path.name, run.path, "finished", 20)
    assert (row.settings["beta"], row.settings["seed"], row.settings["dataset"]) == (4.0, 1.0, "clusters")
    assert row.metrics[MIG] == 0.5
    assert f"{MIG}_se" not in row.metrics
    assert row.errors[MIG] == 0.01
    assert row.controls[MIG] == {"pca": 0.02, "chance": 0.001}
    assert row.intervals[MIG] == (0.475, 0.525)
    assert row.peers == {run.path.name}


def test_a_run_that_is_named_thrice_is_one_row(config, tmp_path):
    run = fabricate(tmp_path, config, 1, 0)
    sweep = record(tmp_path, [{"overrides": ["beta=1"], "run": f"clusters/{run.path.name}", "error": None}])
    assert len(collect([tmp_path, run.path, sweep])) == 1


def test_a_record_knows_jobs_that_have_no_run_or_have_not_begun(config, tmp_path):
    run = fabricate(tmp_path, config, 1, 0)
    jobs = [
        {"overrides": ["beta=1"], "run": f"clusters/{run.path.name}", "error": None},
        {"overrides": ["beta=-1", "seed=2", "force=true"], "run": None, "error": "beta must be >= 0"},
        {"overrides": ["beta=8"], "run": "clusters/beta=8-0", "error": None},
    ]
    for places in ([record(tmp_path, jobs)], [tmp_path], [tmp_path / "sweeps"]):
        rows = {row.name: row for row in collect(places)}
        assert rows[run.path.name].state == "finished"
        assert (rows["beta=-1,seed=2,force=true"].state, rows["beta=-1,seed=2,force=true"].error) == (
            "failed",
            "beta must be >= 0",
        )
        assert rows["beta=-1,seed=2,force=true"].settings == {"beta": -1.0, "seed": 2.0, "force": True}
        assert (rows["beta=8"].state, rows["beta=8"].path) == ("new", tmp_path / "clusters/beta=8-0")


def test_the_launchers_reason_explains_a_killed_run_but_not_a_finished_one(config, tmp_path):
    killed = fabricate(tmp_path, config, 1, 0, state="running")  # nobody holds its lock
    done = fabricate(tmp_path, config, 2, 0)
    record(
        tmp_path,
        [{"overrides": [], "run": f"clusters/{run.path.name}", "error": "out of memory"} for run in (killed, done)],
    )
    rows = {row.path: row for row in collect([tmp_path])}
    assert (rows[killed.path].state, rows[killed.path].error) == ("killed", "out of memory")
    assert (rows[done.path].state, rows[done.path].error) == ("finished", "")


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "scores.json", "status.json"])
def test_a_damaged_folder_is_a_failed_run_that_names_the_file(config, tmp_path, name):
    run = fabricate(tmp_path, config, 1, 0, mig=0.5)
    fabricate(tmp_path, config, 2, 0, mig=0.5)
    (run.path / name).write_text('{"metric": [')
    rows = {row.path: row for row in collect([tmp_path])}
    assert rows[run.path].state == "failed"
    assert name in rows[run.path].error
    assert sum(row.state == "finished" for row in rows.values()) == 1


def test_a_run_without_scores_has_its_terms(config, tmp_path):
    fabricate(tmp_path, config, 1, 0)
    (row,) = collect([tmp_path])
    assert set(row.metrics) == {"val/elbo", "val/reconstruction", "val/kl"}
    assert row.controls == row.intervals == {}


@pytest.mark.parametrize(("name", "message"), [("nowhere", "does not exist"), (".", "no runs in")])
def test_where_nothing_is_that_is_said(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        collect([tmp_path / name])


def test_a_file_that_is_no_record_is_named(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"x\.json is not a sweep's record"):
        collect([tmp_path / "x.json"])


@pytest.mark.parametrize(
    ("text", "value"), [("4", 4.0), ("1e-3", 0.001), ("true", True), ("null", None), ("beta_tc", "beta_tc")]
)
def test_a_value_is_read_as_it_was_typed(text, value):
    assert typed_value(text) == value
    assert type(typed_value(text)) is type(value)


def test_half_an_interval_is_of_the_score_itself_or_of_a_normal_error():
    of = Row("a", None, "finished", errors={"x": 0.1, "y": 0.1}, intervals={"x": (0.2, 0.5)})
    assert [of.half(tag) for tag in ("x", "y")] == pytest.approx([0.15, 0.196])
    assert of.half("z") is None
