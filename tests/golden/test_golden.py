"""Today's numbers, folders and tags, as `stored.py` kept them, are still what the command line gives and takes."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.golden import stored

# Rounding differs between machines (BLAS, instruction sets, numbers of threads): without AVX2 and with two threads
# instead of one the values moved by 1e-4 of themselves only where they were below 1e-3, and by 1e-6 at most.
CLOSE = {"rel": 1e-4, "abs": 1e-5}


def kept(folder: str) -> list[Path]:
    return sorted(config.parent for config in (stored.HERE / folder).glob("*/*/config.yaml"))


def copied(folder: str, out: Path) -> Path:
    """A copy of the one run that is kept in `folder`, in its place in `out`."""
    (run,) = kept(folder)
    return shutil.copytree(run, out / run.parent.name / run.name)


@pytest.mark.parametrize("name", stored.NUMBERS)
def test_losses_and_terms_are_those_that_were_stored(name, tmp_path):
    found = stored.numbers(name, tmp_path)
    expected = json.loads((stored.HERE / "numbers" / f"{name}.json").read_text())
    assert len(expected["train/"]["train/loss"]) == stored.STEPS
    assert len(expected["val/"]["val/loss"]) == 1
    for stage, terms in expected.items():
        assert {tag: found[stage].get(tag) for tag in terms} == {
            tag: pytest.approx(values, **CLOSE) for tag, values in terms.items()
        }


def test_stored_numbers_cover_the_options_of_their_time():
    typed = {override.partition("@")[0].partition("=")[0] + "=" + override.rpartition("=")[2]
             for name in stored.NUMBERS for override in stored.of_numbers(name)}  # fmt: skip
    objectives = {"vae", "beta_vae", "capacity", "beta_tc", "factor_vae", "dip_vae", "decomposition"}
    assert {f"objective={name}" for name in objectives} <= typed
    assert {f"divergence={name}" for name in ("kl_exclusive", "mmd", "jsd")} <= typed
    assert {f"schedule={name}" for name in ("linear", "cosine", "cyclical")} <= typed
    assert {f"optimizer={name}" for name in ("adam", "amsgrad", "adagrad")} <= typed


@pytest.mark.parametrize("overrides", stored.COMMANDS, ids=" ".join)
def test_a_command_finds_the_folder_of_its_run(overrides, tmp_path):
    shutil.copytree(stored.HERE / "runs", tmp_path, dirs_exist_ok=True)
    said = stored.command("train", *overrides, f"out={tmp_path}").replace("\n", "")
    assert "Already finished" in said
    assert sum(run.name in said for run in kept("runs")) == 1
    assert len(kept("runs")) == len(list(tmp_path.glob("*/*/config.yaml")))


def test_a_run_that_was_stopped_goes_on_to_the_same_end(tmp_path):
    run = copied("stopped", tmp_path)
    stored.train(*stored.of_numbers(stored.STOPPED), out=tmp_path)
    expected = json.loads((stored.HERE / "numbers" / f"{stored.STOPPED}.json").read_text())
    curves = stored.curves(run)
    for tag, values in expected["train/"].items():
        assert curves[tag] == pytest.approx(values[stored.STEPS // 2 :], **CLOSE), tag
    for tag, values in expected["val/"].items():
        assert curves[tag] == pytest.approx(values, **CLOSE), tag


def test_a_run_is_listed_and_compared(tmp_path):
    run = copied("whole", tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    said = stored.command("status", str(tmp_path))
    assert said.split()[:4] == ["finished", "4/4", "ELBO", f"{metrics['val/elbo']:.2f}"]
    assert "1 run: 1 finished" in said
    stored.command("compare", str(tmp_path), "report=none")
    with (tmp_path / "results.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["run"] == run.name
    assert row["state"] == "finished"
    scores = json.loads((run / "scores.json").read_text())
    for metric, entry in scores["metric"].items():
        for name, by_source in entry["scores"].items():
            if "/" not in name:
                assert float(row[f"metric/{metric}/{name}"]) == pytest.approx(by_source["model"]["value"], rel=1e-5)


def test_a_run_is_scored_from_its_checkpoint(tmp_path):
    run = copied("whole", tmp_path)
    stored.command("evaluate", str(run), "metric=[sparsity,aggregate_posterior]", "score.controls=[]")
    before = json.loads((kept("whole")[0] / "scores.json").read_text())["metric"]
    after = json.loads((run / "scores.json").read_text())["metric"]
    for metric in ("sparsity", "aggregate_posterior"):
        for name, by_source in before[metric]["scores"].items():
            found = after[metric]["scores"][name]["model"]
            assert found == pytest.approx(by_source["model"], **CLOSE), f"{metric}/{name}"


def test_a_run_has_all_tags_that_it_had(tmp_path):
    found = stored.tags(stored.train(*stored.WHOLE, out=tmp_path))
    assert set((stored.HERE / "tags.txt").read_text().split()) <= set(found)
