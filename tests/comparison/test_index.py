"""The index of finished runs gives the rows that the folders give, and notices every change."""

import json
import math
import shutil
import zlib

import pytest

from disvae.comparison import index
from disvae.comparison.results import collect
from disvae.config import resolved
from tests.comparison.fabricated import add_udr, fabricate


@pytest.fixture
def runs(composed, tmp_path, monkeypatch):
    """Three finished runs, one of which was compared with the others, and one that was killed."""
    monkeypatch.setattr(index, "LEAST", 2)
    config = resolved(composed("dataset=clusters", "steps=20", "tags=[mine]"))
    made = [fabricate(tmp_path, config, beta, 0, mig=0.1 * beta) for beta in (1, 2, 3)]
    add_udr(made[0], 0.7, made)
    fabricate(tmp_path, config, 4, 0, state="running")  # nobody holds its lock
    return made


@pytest.fixture
def read(monkeypatch):
    """The names of the folders that are read, because no entry counts."""
    names = []
    of_run = index.of_run
    monkeypatch.setattr(index, "of_run", lambda run: (names.append(run.path.name), of_run(run))[1])
    return names


def test_rows_of_finished_runs_come_from_the_index_and_are_the_same(runs, read, tmp_path):
    first = collect([tmp_path])
    assert len(read) == 4
    read.clear()
    assert collect([tmp_path]) == first
    assert [name.partition("-")[0] for name in read] == ["beta=4,seed=0"]  # it may run again
    assert [row.state for row in first] == ["finished"] * 3 + ["killed"]
    assert all(row.tags == {"mine"} for row in first)


def test_a_run_that_has_changed_or_is_repeated_is_read_again(runs, read, tmp_path):
    collect([tmp_path])
    read.clear()
    runs[0].save_metrics(runs[0].metrics() | {"val/elbo": -1.0})
    with (runs[1].path / "scores.json").open("r+b") as file:  # damaged: another digit, no byte more
        file.seek(file.read().index(b"0.01"))
        file.write(b"0.02")
    (runs[2].path / ".new").mkdir()
    rows = collect([tmp_path])
    assert len(read) == 4
    assert [row.state for row in rows[:3]] == ["finished", "failed", "finished"]
    assert rows[0].metrics["val/elbo"] == -1.0
    shutil.rmtree(runs[0].path)
    assert len(collect([tmp_path])) == 3


@pytest.mark.parametrize(
    "damage",
    [
        lambda known, names: "no index",
        lambda known, names: [index.MADE_BY, known],
        lambda known, names: [["another version"], known, names],
        lambda known, names: [index.MADE_BY, known, []],
        lambda known, names: [index.MADE_BY, dict.fromkeys(known, 5), names],
        lambda known, names: [index.MADE_BY, {k: [v[0], {}] for k, v in known.items()}, names],
        lambda known, names: [index.MADE_BY, {k: [v[0], v[1] | {"numbers": "?"}] for k, v in known.items()}, names],
        lambda known, names: [index.MADE_BY, {k: [v[0], v[1] | {"step": None}] for k, v in known.items()}, ["{}"]],
    ],
)
def test_an_index_that_is_damaged_or_of_another_version_is_written_again(runs, read, tmp_path, damage):
    first = collect([tmp_path])
    file = tmp_path / "clusters" / index.FILE
    whole = file.read_bytes()
    file.write_bytes(zlib.compress(json.dumps(damage(*json.loads(zlib.decompress(whole))[1:])).encode()))
    read.clear()
    assert collect([tmp_path]) == first
    assert len(read) == 4
    assert file.read_bytes() == whole


def test_every_number_comes_back_as_it_was(runs, read, tmp_path):
    for value in (0.1 + 0.2, -0.0, 5e-324, 1e300, math.inf, 7):  # a whole number stays one
        runs[0].save_metrics(runs[0].metrics() | {"val/elbo": value})
        for _ in range(2):
            assert repr(collect([tmp_path])[0].metrics["val/elbo"]) == repr(value)
    read.clear()
    assert collect([tmp_path])[0].controls
    assert len(read) == 1  # the run that was killed


def test_names_that_runs_share_are_held_once(runs, tmp_path):
    collect([tmp_path])
    _, known, names = json.loads(zlib.decompress((tmp_path / "clusters" / index.FILE).read_bytes()))
    assert len(known) == 3
    assert len(names) == 2  # one run also has a score of UDR


def test_few_runs_have_no_index_and_a_folder_that_cannot_be_written_does_without(runs, read, tmp_path, monkeypatch):
    monkeypatch.setattr(index, "LEAST", 5)
    rows = collect([tmp_path])
    assert not (tmp_path / "clusters" / index.FILE).exists()
    monkeypatch.setattr(index, "LEAST", 2)
    monkeypatch.setattr(index, "FILE", "missing/.index")
    assert collect([tmp_path]) == rows
