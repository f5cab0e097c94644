import json
import multiprocessing
import os

import pytest

from disvae.config import ConfigError, resolved
from disvae.runs import folder as runs
from disvae.runs.folder import Run, readable, write_atomically


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "status.json"
    write_atomically(path, "old")

    def full_disk(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ConfigError, match="No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["status.json"]


def test_the_same_configuration_finds_its_folder_under_another_spelling(composed, tmp_path):
    first = Run.find(tmp_path, "sprites", "beta=4", resolved(composed("beta=4")))
    first.path.mkdir(parents=True)
    again = Run.find(tmp_path, "sprites", "defaults", resolved(composed()))
    assert again.path == first.path
    assert Run.find(tmp_path, "sprites", "beta=5", resolved(composed("beta=5"))).path != first.path


def test_folder_names_read_as_the_overrides():
    assert readable(["objective=beta_tc", "beta=6", "out=/tmp/x"], ["out"]) == "objective=beta_tc,beta=6"
    assert readable([], []) == "defaults"
    assert "/" not in readable(["dataset.path=/a/b c"], [])
    assert len(readable([f"k{i}=1" for i in range(200)], [])) <= 100


def _hold(path, ready, release):
    with Run(path).lock():
        Run(path).mark("running", 7)
        ready.set()
        release.wait(20)


def test_a_run_in_training_is_refused_to_a_second_process_and_free_after_a_kill(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path / "run", ready, release))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(ConfigError, match=f"in use by process {holder.pid}"):
        Run(tmp_path / "run").lock()
    holder.kill()
    holder.join()
    with Run(tmp_path / "run").lock():
        assert Run(tmp_path / "run").status()["step"] == 7


def test_a_truncated_status_names_the_file_and_the_remedy(tmp_path):
    (tmp_path / "status.json").write_text('{"state": "fin')
    with pytest.raises(ConfigError, match=r"status\.json is not readable.*force=true"):
        Run(tmp_path).status()


def test_what_a_killed_checkpoint_writer_left_is_swept(tmp_path):
    (tmp_path / ".last.ckpt.ab12").write_bytes(b"half")
    with Run(tmp_path).lock():
        assert not list(tmp_path.glob(".last.ckpt.*"))


def test_provenance_says_where_numbers_come_from():
    made = runs.provenance("cpu", 2)
    assert made["packages"]["torch"]
    assert {"command", "git_commit", "git_dirty", "device", "python", "started"} <= made.keys()
    json.dumps(made)


def test_force_clears_the_folder_but_not_the_lock(tmp_path):
    run = Run(tmp_path)
    with run.lock():
        (tmp_path / "last.ckpt").write_bytes(b"x")
        run.clear()
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]
