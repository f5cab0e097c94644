import io
import time

import pytest
from omegaconf import OmegaConf
from rich.console import Console

from disvae.sweep.entry import Entry, time_left, together
from disvae.sweep.view import Bars, Lines, summary, view


class FakeJob:
    """The part of a job that is shown."""

    def __init__(self, run):
        self.run = run
        self.config = {"steps": 100}
        self.force = False


@pytest.fixture
def entries(tmp_path):
    from disvae.runs.folder import Run

    made = [Entry([f"seed={i}"], name=f"seed={i}", job=FakeJob(Run(tmp_path / str(i)))) for i in range(4)]
    for entry in made:
        entry.job.run.path.mkdir()
    return made


def finish(entry, seconds):
    entry.begin()
    entry.started -= seconds
    entry.step = 100
    entry.settle("finished")


def test_time_left_is_what_a_step_cost_for_the_steps_ahead_shared_by_the_slots(entries):
    assert time_left(entries, 2) is None
    finish(entries[0], 50)
    assert time_left(entries, 2) == pytest.approx(3 * 50 / 2, rel=0.01)
    entries[1].begin()
    entries[1].started -= 25
    entries[1].step = 50
    assert time_left(entries, 2) == pytest.approx((50 + 200) * 0.5 / 2, rel=0.01)
    for entry in entries[2:]:
        entry.settle("skipped")
    assert time_left(entries, 2) == pytest.approx(25, rel=0.01), "one job takes one slot"


def test_time_left_counts_scores_and_pictures_as_a_finished_job_needed_them(entries):
    finish(entries[0], 50)
    for entry in entries[1:3]:
        entry.begin()
        entry.started -= 20
        entry.step = 100  # trained in 20 seconds, now scored
    assert time_left(entries, 3) == pytest.approx((30 + 30 + 50) / 3, rel=0.01)


def test_lines_say_how_a_job_ended_and_how_many_are_over(entries):
    text = io.StringIO()
    shown = Lines(Console(file=text), entries, 2)
    finish(entries[0], 400)
    entries[0].job.run.save_metrics({"val/elbo": -107.23})
    shown.ended(entries[0])
    entries[1].begin()
    entries[1].settle("failed", "OSError: no\nmore")
    shown.ended(entries[1])
    for _ in range(2):
        entries[2].settle("busy")
        shown.ended(entries[2])
    assert text.getvalue().splitlines() == [
        "[1/4] finished seed=0 in 6:40 · validation ELBO -107.2",
        "[2/4] failed seed=1: OSError: no",
        "[2/4] in use by another process, will be checked again: seed=2",
    ]


def test_lines_say_now_and_then_what_runs(entries):
    text = io.StringIO()
    shown = Lines(Console(file=text), entries, 2, pause=10)
    entries[0].begin()
    entries[0].started = time.monotonic() - 20
    entries[0].step, entries[0].activity = 50, "training"
    shown.moved(entries[0])
    assert text.getvalue() == ""
    shown.shown -= 11
    shown.moved(entries[0])
    shown.moved(entries[0])
    assert text.getvalue() == "[0/4] running: seed=0 training 50/100 · 1:10 + scores left\n"


def test_a_terminal_has_a_bar_for_each_running_job_and_one_for_all(entries):
    text = io.StringIO()
    with Bars(Console(file=text, force_terminal=True, width=120), entries, 2) as shown:
        entries[0].begin()
        shown.started(entries[0])
        entries[0].step, entries[0].activity = 50, "validating"
        shown.moved(entries[0])
        shown.progress.refresh()
        frame = text.getvalue()
        assert "seed=0" in frame
        assert "50/100 validating" in frame
        assert "all jobs" in frame
        assert "0/4" in frame
        entries[0].settle("failed", "it broke")
        shown.ended(entries[0])
        assert len(shown.progress.tasks) == 1
        shown.progress.refresh()
    assert "[1/4] failed seed=0: it broke" in text.getvalue()
    assert "1/4 · 1 failed" in text.getvalue()


@pytest.fixture
def packed(entries):
    """All four in one process, at step 50 of 100 after 20 s."""
    together(entries)
    for entry in entries:
        entry.begin(4)
        entry.started = time.monotonic() - 20
        entry.step, entry.activity = 50, "training"
    return entries


def test_packed_jobs_are_shown_as_one_that_counts_them(packed):
    text = io.StringIO()
    shown = Lines(Console(file=text), packed, 1, pause=0)
    shown.moved(packed[0])
    packed[0].step, packed[0].activity = 100, "scoring"
    packed[1].settle("failed", "diverged")
    shown.moved(packed[0])
    assert [line.partition(" · ")[0] for line in text.getvalue().splitlines()] == [
        "[0/4] running: packed 4 (seed=0 … seed=3) training 50/100",
        "[1/4] running: packed 3 (seed=0 … seed=3) 1 scoring, 2 training 66/100",
    ]


def test_a_terminal_has_one_bar_for_packed_jobs_until_the_last_has_ended(packed):
    text = io.StringIO()
    with Bars(Console(file=text, force_terminal=True, width=120), packed, 1) as shown:
        for entry in packed:
            shown.started(entry)
        assert [task.description for task in shown.progress.tasks[1:]] == ["packed 4 (seed=0 … seed=3)"]
        packed[0].settle("failed", "it broke")
        shown.ended(packed[0])
        [bar] = shown.progress.tasks[1:]
        assert (bar.description, bar.completed, bar.fields["said"]) == (
            "packed 3 (seed=1 … seed=3)",
            50,
            "50/100 training",
        )
        for entry in packed[1:3]:
            entry.settle("finished")
            shown.ended(entry)
        assert [task.description for task in shown.progress.tasks[1:]] == ["seed=3"]
        packed[3].settle("interrupted")
        shown.ended(packed[3])
        assert len(shown.progress.tasks) == 1
    assert "[1/4] failed seed=0: it broke" in text.getvalue()


def test_packed_jobs_advance_together(packed):
    assert time_left(packed, 1) == pytest.approx(20, rel=0.01)
    assert time_left(packed, 2) == pytest.approx(20, rel=0.01), "one process takes one slot"
    packed[0].settle("finished")
    packed[0].step = 100
    rest = (3 * 20 / 4 + 20 / 4) / (3 * 50 + 100)
    assert time_left(packed, 1) == pytest.approx(3 * 50 * rest, rel=0.01)
    assert packed[0].spent == pytest.approx(20, rel=0.01), "of its own, all of it"


def test_a_terminal_hears_of_jobs_that_cannot_be_before_the_first_one_runs(entries):
    text = io.StringIO()
    shown = Bars(Console(file=text, force_terminal=True, width=120), entries, 2)
    entries[0].settle("failed", "beta must be >= 0")
    shown.ended(entries[0])
    assert "[1/4] failed seed=0: beta must be >= 0" in text.getvalue()


def test_the_summary_counts_ends_and_gives_reasons_with_their_logs(entries, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    entries[0].settle("skipped")
    entries[1].settle("failed", "\nit broke\nbadly")
    (entries[1].job.run.path / "log.txt").touch()
    entries[2].settle("elsewhere")
    summary(entries, tmp_path / "sweeps/x.json", tmp_path)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"skipped: finished before 1", "skipped: finished by another process 1", "failed 1", "not started 1"} < set(
        lines
    )
    assert "failed: seed=1: it broke" in lines
    assert f"log: {entries[1].job.run.path / 'log.txt'}" in lines
    assert "Compare: python -m disvae.compare sweeps/x.json" in lines


def test_the_same_run_twice_and_a_repetition_are_said(entries, capsys, tmp_path):
    entries[1].twin = "seed=0"
    entries[1].settle("elsewhere")
    entries[2].settle("elsewhere")
    entries[3].config = OmegaConf.create({"force": True})
    summary(entries, tmp_path / "x.json", tmp_path)
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"skipped: the same run as another job 1", "skipped: finished by another process 1"} < set(lines)
    assert any("without force=true it runs the unfinished jobs" in line for line in lines)
    text = io.StringIO()
    shown = Lines(Console(file=text), entries, 2)
    shown.ended(entries[1])
    entries[1].settle("busy")
    shown.ended(entries[1])
    assert text.getvalue() == "[2/4] the same run as seed=0: seed=1\n"


def test_off_a_terminal_there_are_no_bars(entries):
    assert isinstance(view(entries, 1), Lines)
