import json
import multiprocessing
import shutil
from pathlib import Path

import pytest

from disvae.config import ConfigError, resolved
from disvae.runs.folder import Run, readable
from tests.runs.killed import Changes, Killed


def test_the_same_configuration_finds_its_folder_under_another_spelling(composed, tmp_path):
    first = Run.find(tmp_path, "sprites", "beta=4", resolved(composed("beta=4")))
    first.path.mkdir(parents=True)
    again = Run.find(tmp_path, "sprites", "defaults", resolved(composed()))
    assert again.path == first.path
    assert Run.find(tmp_path, "sprites", "beta=5", resolved(composed("beta=5"))).path != first.path


def test_a_folder_that_is_there_needs_no_right_to_write(tmp_path, monkeypatch):
    monkeypatch.setattr("disvae.runs.folder.awaited", lambda path: pytest.fail(f"{path} is locked"))
    (tmp_path / "beta=4-0123abcd").mkdir()
    assert Run(tmp_path / "beta=4-0123abcd").claimed() == Run(tmp_path / "beta=4-0123abcd")


def test_folder_names_read_as_the_overrides():
    assert readable(["objective=beta_tc", "beta=6", "out=/tmp/x"], ["out"]) == "objective=beta_tc,beta=6"
    assert readable([], []) == "defaults"
    assert "/" not in readable(["dataset.path=/a/b c"], [])
    many = [f"k{i}=1" for i in range(200)]
    assert len(readable(many, [])) <= 100
    assert readable(many, [], kept=30) == ",".join(many[:30])  # what a sweep varies is never cut
    assert len(readable(many, [], kept=200)) <= 200


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


def test_only_what_a_killed_writer_left_is_swept(tmp_path):
    halves = [
        ".last.ckpt.12",
        ".encoding-all.h5.7",
        ".events.out.tfevents.1.host.3.0.figures.9",
        "figures/.scatter.png.5",
    ]
    others = [".notes.12", ".last.ckpt.swp", ".env", "figures/.mine.png.5", ".ipynb_checkpoints/notes-checkpoint.txt"]
    for name in halves + others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    with Run(tmp_path).lock():
        assert sorted(tree(tmp_path)) == sorted([*others, ".lock"])


USERS = {"notes.txt": "mine", "figures/paper.pdf": "mine", "figures/mine.png": "mine", "own/last.ckpt": "mine"}
USERS |= {".ipynb_checkpoints/notes-checkpoint.txt": "mine", "log.txt": "all runs"}
OLD = {
    "config.yaml": "old",
    "last.ckpt": "old",
    "best.ckpt": "old",
    "encoding.h5": "old",
    "encoding-all.h5": "old",
    "explore.html": "old",
    "report.html": "old",
    "events.out.tfevents.1.host.3.0": "old",
    "events.out.tfevents.1.host.3.0.figures": "old",
    "figures/scatter.png": "old",
    "figures/traversal-image7.png": "old",
    "metrics.json": '{"val/elbo": -2}',
    "status.json": '{"state": "finished", "step": 20}',
}
NEW = {
    "config.yaml": "new",
    "last.ckpt": "new",
    "encoding.h5": "new",
    "events.out.tfevents.2.host.4.0": "new",
    "figures/scatter.png": "new",
    "metrics.json": '{"val/elbo": -1}',
    "status.json": '{"state": "finished", "step": 20}',
}


def tree(folder):
    """The text of every file below a folder by its name there."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def kept(folder):
    """The `tree` without the lock and the repeat."""
    return {name: text for name, text in tree(folder).items() if name != ".lock" and not name.startswith(".new/")}


def fill(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


@pytest.mark.parametrize("state", ["failed", "interrupted", "running", "diverged"])
def test_a_repeat_that_is_not_finished_changes_nothing(tmp_path, state):
    fill(tmp_path, OLD | USERS)
    fill(tmp_path / ".new", NEW | {"status.json": json.dumps({"state": state, "step": 7})})
    with Run(tmp_path).lock():
        assert {
            name: text for name, text in tree(tmp_path).items() if name[:5] not in (".new/", ".lock")
        } == OLD | USERS
    assert Run(tmp_path).finished()
    assert Run(tmp_path).place(force=True).status()["step"] == 7


def test_a_repeat_takes_its_place_whole_whenever_it_is_killed(tmp_path, monkeypatch):
    """Before each of its changes to the disk; the next one to lock the folder goes on."""
    changes = Changes()
    seen = set()

    for kill in range(1000):
        run = Run(tmp_path / str(kill))
        fill(run.path, OLD | USERS)
        fill(run.path / ".new", NEW)
        changes.left = kill
        with monkeypatch.context() as patch:
            for name in ("unlink", "rename", "replace", "rmdir"):
                patch.setattr(Path, name, changes.limited(getattr(Path, name)))
            patch.setattr(shutil, "rmtree", changes.limited(shutil.rmtree))
            try:
                run.lock().release()
            except Killed:
                seen.add((run.state(), run.finished()))
                assert (run.path / "config.yaml").exists()
                assert run.last.exists()
            else:
                break
        run.lock().release()
        assert kept(run.path) == NEW | USERS
        assert not {".new", ".done"} & {path.name for path in run.path.iterdir()}
    assert kill > 15
    assert seen == {("finished", True), ("killed", False)}
    assert kept(run.path) == NEW | USERS


def test_a_figures_folder_without_pictures_goes_with_the_last_one(tmp_path):
    fill(tmp_path, OLD)
    fill(tmp_path / ".new", {name: text for name, text in NEW.items() if "figures" not in name})
    Run(tmp_path).lock().release()
    assert not (tmp_path / "figures").exists()


def test_a_repeat_replaces_the_sessions_of_its_run_with_weights_and_biases(tmp_path):
    run, session = Run(tmp_path / "beta=2-0123abcd"), "wandb/run-20260102_030405-0123abcd"
    users = {"wandb/mine.txt": "mine", "wandb/run-notes/a": "mine", session.replace("0123", "9999") + "/x": "another's"}
    fill(run.path, OLD | users | {f"{session}/run-0123abcd.wandb": "old", f"{session}/files/a": "old"})
    (run.path / "wandb" / "debug.log").symlink_to(f"{session[6:]}/files/a")
    new = {f"{session.replace('03', '04')}-0a1b2c3d/files/a": "new"}
    fill(run.path / ".new", NEW | new)
    (run.path / ".new" / "wandb" / "latest-run").symlink_to(f"{session[6:].replace('03', '04')}-0a1b2c3d")
    run.lock().release()
    assert kept(run.path) == NEW | users | new
    assert (run.path / "wandb" / "latest-run" / "files" / "a").read_text() == "new"
    assert not (run.path / "wandb" / "debug.log").is_symlink()


def test_a_repeat_is_in_use_while_its_run_is_locked(tmp_path):
    repeat = Run(tmp_path).place(force=True)
    repeat.make()
    repeat.mark("running", 3)
    with Run(tmp_path).lock():
        assert repeat.state() == "running"
    assert repeat.state() == "killed"
    assert not (repeat.path / ".lock").exists()
