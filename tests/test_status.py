"""What python -m disvae.status says of runs and of a sweep's jobs."""

import os
import socket

import pytest
from omegaconf import OmegaConf

from disvae.compare import compare_paths
from disvae.config import ConfigError, resolved
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run
from disvae.status import status
from disvae.sweep.record import Sweep, SweepJob


def run(folder, name: str, state: str, step: int, **more) -> Run:
    path = folder / "sprites" / name
    path.mkdir(parents=True)
    made = Run(path)
    made.mark(state, step, **more)
    return made


@pytest.fixture
def sweep(tmp_path):
    """Five jobs: finished, killed, failed, one not begun and one that could not be."""
    run(tmp_path, "a-1", "finished", 20).save_metrics({"val/elbo": -2.5})
    run(tmp_path, "b-2", "running", 10)  # and nobody holds it
    run(tmp_path, "c-3", "failed", 5, error="MemoryError: [no] room\nsecond line")
    made = Sweep.find(tmp_path, "beta=1,2", ["beta=1,2"], "python -m disvae.train -m", "now")
    made.jobs = [SweepJob([name], f"sprites/{name}") for name in ("a-1", "b-2", "c-3", "d-4")]
    made.jobs.append(SweepJob(["beta=-1"], None, "beta must be a finite number >= 0, got -1"))
    made.write()
    return made


def lines(capsys, *arguments: str) -> list[str]:
    status(arguments)
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_every_job_of_a_sweep_has_its_state_its_step_and_its_reason(sweep, capsys):
    out = sweep.out
    assert lines(capsys, str(sweep.path)) == [
        f"finished 20 ELBO -2.50 {out}/sprites/a-1",
        f"killed 10 {out}/sprites/b-2",
        f"failed 5 {out}/sprites/c-3",
        "MemoryError: [no] room",
        f"new 0 {out}/sprites/d-4",
        "failed 0 beta=-1",
        "beta must be a finite number >= 0, got -1",
        "5 runs: 1 new, 1 finished, 1 killed, 2 failed",
    ]


def test_a_repeat_is_told_beside_what_it_repeats_and_is_no_run_of_its_own(sweep, capsys):
    repeat = Run(sweep.out / "sprites" / "a-1").place(force=True)
    repeat.make()
    repeat.mark("failed", 7, error="no room")
    said = lines(capsys, str(sweep.out))
    assert said[:2] == [
        f"finished 20 ELBO -2.50 {sweep.out}/sprites/a-1",
        "its repeat (force=true): failed at step 7: no room",
    ]
    assert said[-1] == "5 runs: 1 new, 1 finished, 1 killed, 2 failed"


def test_a_folder_of_runs_lists_them_and_the_jobs_of_its_sweeps_once(sweep, capsys):
    assert lines(capsys, str(sweep.out))[-1] == "5 runs: 1 new, 1 finished, 1 killed, 2 failed"
    assert lines(capsys, str(sweep.out / "sprites" / "a-1"))[-1] == "1 run: 1 finished"


def test_states_are_filtered(sweep, capsys):
    said = lines(capsys, str(sweep.path), "state=killed,new")
    assert [line.split()[0] for line in said] == ["killed", "new", "5"]


def test_runs_are_filtered_by_their_tags(sweep, capsys, composed):
    for name, tags in (("a-1", "[paper,old]"), ("c-3", "[draft]")):
        text = OmegaConf.to_yaml(OmegaConf.create(resolved(composed(f"tags={tags}"))))
        (sweep.out / "sprites" / name / "config.yaml").write_text(text)
    said = lines(capsys, str(sweep.out), "tags=paper,draft", "state=finished")
    assert [line.split()[0] for line in said] == ["finished", "2"]
    with pytest.raises(ConfigError, match="no run has tags=new; the runs have draft, old, paper"):
        compare_paths([str(sweep.out), "tags=[new]"])


def test_a_run_whose_folder_is_held_is_running(sweep, capsys):
    with Run(sweep.out / "sprites" / "b-2").lock():
        assert lines(capsys, str(sweep.path))[1].startswith("running")
        owner = (sweep.out / "sprites" / "b-2" / ".lock").read_text()
    assert owner.startswith(f"process {os.getpid()} on {socket.gethostname()} since ")


@pytest.mark.parametrize(
    ("arguments", "said"), [(["state=odd"], "state=odd is not an option"), (["nowhere"], "nowhere does not exist")]
)
def test_what_cannot_be_is_named(arguments, said):
    with pytest.raises(ConfigError, match=said):
        status(arguments)


def test_a_damaged_record_is_named(tmp_path):
    path = tmp_path / "sweeps" / "x.json"
    path.parent.mkdir()
    write_atomically(path, '{"jobs": 3}')
    with pytest.raises(ConfigError, match=r"x\.json is not a sweep's record"):
        status([str(path)])


def test_jobs_that_are_about_to_be_composed_are_new(sweep, capsys):
    sweep.jobs = [SweepJob(["seed=[/x]"], None)]
    sweep.write()
    assert lines(capsys, str(sweep.path)) == ["new 0 seed=[/x]", "1 run: 1 new"]


def test_a_damaged_record_does_not_hide_the_runs(sweep, capsys):
    write_atomically(sweep.path, "{")
    said = lines(capsys, str(sweep.out))
    assert said[-1] == "4 runs: 1 finished, 1 killed, 2 failed"
    assert any("is not a sweep's record" in line for line in said)


def test_a_status_is_written_even_where_there_is_no_room_for_a_new_file(tmp_path, monkeypatch):
    made = run(tmp_path, "a-1", "running", 20)
    monkeypatch.setattr("disvae.runs.folder.write_atomically", lambda *_: (_ for _ in ()).throw(ConfigError("full")))
    made.mark("failed", 20, error="no room")
    assert (made.status()["state"], made.status()["error"]) == ("failed", "no room")
