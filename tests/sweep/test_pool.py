"""Processes with several jobs in each, whose training is a fake: who is told what, whatever happens."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from disvae.config import ConfigError
from disvae.runs.folder import InUse, Run
from disvae.sweep import pool as pool_module
from disvae.sweep import worker
from disvae.sweep.devices import Device
from disvae.sweep.entry import Entry
from disvae.sweep.packing import make_packs
from disvae.sweep.pool import Pool
from disvae.system.signals import Interrupted, interruptible


class Stopped(RuntimeError):
    """As training's own."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True)
class FakeJob:
    """A run by name; `does` is what becomes of it at each attempt."""

    run: Run
    does: tuple[str, ...] = ("finish",)
    overrides: tuple[str, ...] = ()
    force: bool = False
    config: dict = field(
        default_factory=lambda: {
            "steps": 10,
            "objective": {},
            "trainer": {"devices": 1},
        }
    )

    def claimed(self):
        self.run.path.mkdir(parents=True, exist_ok=True)
        return self

    def remaining(self):
        return "" if self.run.finished() else "training"

    def attempt(self) -> str:
        """What to do this time."""
        file = self.run.path / "attempts"
        number = len(file.read_text()) if file.exists() else 0
        file.write_text("x" * (number + 1))
        return self.does[min(number, len(self.does) - 1)]

    def end(self, doing: str) -> bool:
        if doing == "finish":
            print(f"trained {self.run.path.name}")
            self.run.mark("finished", 10)
            self.run.save_metrics({"val/elbo": 1.0})
            return True
        if doing == "elsewhere":
            return False
        raise {
            "diverge": Stopped("training diverged", 4),
            "crash": RuntimeError("it broke"),
            "refuse": ConfigError("beta must be positive"),
        }[doing]

    def do(self, *, brief, report):
        report("training", 0)
        doing = self.attempt()
        (self.run.path / "alone").touch()
        with self.run.lock():
            if doing == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            return self.end(doing)

    def say_result(self, *, brief):
        print(f"table of {self.run.path.name}")


def outcome(job: FakeJob, doing: str) -> bool | Exception:
    try:
        return job.end(doing)
    except Exception as error:
        return error


def do_together(jobs, *, report, on_switch, on_done):
    """Lock each, train them, end each in its turn."""
    locks, doing = {}, {}
    for i, job in enumerate(jobs):
        try:
            locks[i] = job.run.lock()
        except InUse as error:
            on_done(i, error)
            continue
        doing[i] = job.attempt()
        (job.run.path / "together").write_text(str(os.getpid()))
        job.run.mark("running", 0)
    on_switch(None)
    print("training together")
    try:
        for i in locks:
            report(i, "training", 5)
        for i in [i for i in locks if doing[i] in ("diverge", "refuse")]:
            locks.pop(i).release()
            on_done(i, outcome(jobs[i], doing[i]))
        if "kill" in doing.values():
            while not all((job.run.path / "status.json").exists() for job in jobs):
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGKILL)
        while "wait" in doing.values():
            time.sleep(0.01)
        for i in list(locks):
            on_switch(i)
            end = outcome(jobs[i], doing[i])
            locks.pop(i).release()
            on_done(i, end)
    except Interrupted as error:
        for i in list(locks):
            jobs[i].run.mark("interrupted", 5)
            locks.pop(i).release()
            on_done(i, Stopped(f"{error} at step 5", 128 + error.signum))


class Shown:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.said = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    def say(self, line):
        pass

    def started(self, entry):
        self.said.append((entry.name, "started", entry.size))

    def moved(self, entry):
        self.said.append((entry.name, entry.activity, entry.step))

    def ended(self, entry):
        self.said.append((entry.name, entry.state, entry.reason))

    def of(self, name, *kinds):
        return [what[1] for what in self.said if what[0] == name and (not kinds or what[1] in kinds)]


@pytest.fixture
def sweep(tmp_path, monkeypatch):
    """Do jobs by name and what becomes of each; the entries and what was shown."""
    monkeypatch.setattr(worker, "do", FakeJob.do)
    monkeypatch.setattr(worker, "do_together", do_together)
    monkeypatch.setattr(worker, "say_result", FakeJob.say_result)
    monkeypatch.setattr("disvae.sweep.packing.kind", lambda job: "alike")
    monkeypatch.setattr(pool_module, "BUSY_PAUSE", 0.3)

    def do(slots=1, retries=1, devices=(), meanwhile=None, **does):
        entries = [
            Entry(
                [name],
                name=name,
                job=FakeJob(Run(tmp_path / name), (what,) if isinstance(what, str) else what, (f"name={name}",)),
                most=16,
            )
            for name, what in does.items()
        ]
        for number, stream in enumerate(("stdout", "stderr"), 1):  # the process's, not pytest's
            monkeypatch.setattr(sys, stream, os.fdopen(number, "w", closefd=False))
        shown = Shown()
        pack = partial(make_packs, slots=slots)
        pool = Pool(
            multiprocessing.get_context("fork"),
            shown,
            slots=slots,
            devices=devices,
            per_device=1,
            retries=retries,
            pack=pack,
        )
        if meanwhile:
            threading.Thread(target=meanwhile, args=(tmp_path,), daemon=True).start()
        shown.signal = pool.run(pack(entries))
        return {entry.name: entry for entry in entries}, shown

    return do


def _hold(locks, connection):
    held = [FileLock(path) for path in locks]
    for lock in held:
        lock.acquire()
    connection.send("held")
    connection.recv()


@pytest.fixture
def hold():
    """Another process that holds locks; what ends it."""
    started = []

    def begin(*locks):
        ours, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=_hold, args=(locks, theirs))
        process.start()
        started.append(process)
        assert ours.recv() == "held"
        return process.kill

    yield begin
    for process in started:
        process.kill()
        process.join()


def states(entries):
    return {name: entry.state for name, entry in entries.items()}


def until(claim, seconds=20):
    end = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > end:
            os.kill(os.getpid(), signal.SIGINT)  # ends the sweep, and the test by its assertions
            return
        time.sleep(0.01)


def test_members_share_a_process_and_each_is_told_of_and_has_its_log(sweep, tmp_path):
    entries, shown = sweep(a="finish", b="finish", c="finish")
    assert states(entries) == {"a": "finished", "b": "finished", "c": "finished"}
    assert len({(tmp_path / name / "together").read_text() for name in "abc"}) == 1
    for name in "abc":
        assert shown.of(name) == ["started", "training", "finished"]
        log = (tmp_path / name / "log.txt").read_text()
        assert log.startswith("--- ")
        assert f"disvae.train name={name}\n" in log
        assert "Trained together" in log
        for other in "abc":
            assert f"\n    {tmp_path / other}\n" in log
            assert (f"trained {other}" in log) == (f"table of {other}" in log) == (other == name)
        assert ("training together" in log) == (name == "a"), "what concerns all is in the first's"
    assert {what[2] for what in shown.said if what[1] == "started"} == {3}


def test_slots_share_the_jobs(sweep, tmp_path):
    entries, _ = sweep(slots=2, **dict.fromkeys("abcdef", "finish"))
    assert set(states(entries).values()) == {"finished"}
    pids = [(tmp_path / name / "together").read_text() for name in "abcdef"]
    assert len(set(pids[:3])) == len(set(pids[3:])) == 1
    assert pids[0] != pids[3]


def test_one_that_diverges_ends_at_once_and_the_others_go_on(sweep, tmp_path):
    entries, shown = sweep(a="diverge", b="finish", c="refuse")
    assert states(entries) == {"a": "failed", "b": "finished", "c": "failed"}
    assert entries["a"].reason == "training diverged"
    assert entries["c"].reason == "beta must be positive"
    ends = [what[0] for what in shown.said if what[1] in ("finished", "failed")]
    assert ends == ["a", "c", "b"]
    assert entries["a"].attempts == entries["c"].attempts == 1, "another attempt would end alike"
    log = (tmp_path / "a" / "log.txt").read_text()
    assert "disvae: training diverged" in log
    assert "Traceback" not in log
    assert "diverged" not in (tmp_path / "b" / "log.txt").read_text()


def test_one_that_crashes_is_tried_again_alone(sweep, tmp_path):
    entries, shown = sweep(a="finish", b=("crash", "finish"), c=("crash", "crash"), d="elsewhere")
    assert states(entries) == {"a": "finished", "b": "finished", "c": "failed", "d": "elsewhere"}
    assert shown.of("b", "waiting", "finished", "started") == ["started", "waiting", "started", "finished"]
    assert (entries["b"].attempts, entries["c"].attempts, entries["a"].attempts) == (2, 2, 1)
    assert not (tmp_path / "a" / "alone").exists()
    assert (tmp_path / "b" / "alone").exists()
    assert (tmp_path / "c" / "alone").exists()
    assert entries["c"].reason == "RuntimeError: it broke"
    assert (tmp_path / "b" / "log.txt").read_text().count("Traceback") == 1
    assert "Traceback" not in (tmp_path / "a" / "log.txt").read_text()


def test_when_a_process_is_killed_each_job_that_had_not_ended_is_tried_again_alone(sweep, tmp_path):
    entries, shown = sweep(a="finish", b=("kill", "finish"), c=("finish"), d="diverge")
    assert states(entries) == {"a": "finished", "b": "finished", "c": "finished", "d": "failed"}
    assert [entries[name].attempts for name in "abcd"] == [2, 2, 2, 1]
    for name in "abc":
        assert shown.of(name, "started", "waiting", "finished") == ["started", "waiting", "started", "finished"]
        assert (tmp_path / name / "alone").exists()
    assert ("a", "waiting", "killed by SIGKILL; out of memory?") in shown.said


def test_a_killed_process_leaves_its_reason_in_each_folder(sweep, tmp_path):
    entries, _ = sweep(retries=0, a="finish", b="kill")
    assert states(entries) == {"a": "failed", "b": "failed"}
    for name in "ab":
        status = Run(tmp_path / name).status()
        assert (status["state"], status["error"]) == ("failed", "killed by SIGKILL; out of memory?")


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_every_member(sweep, tmp_path, signum):
    def interrupt(folder: Path) -> None:
        until(lambda: all(Run(folder / name).status()["state"] == "running" for name in "ab"))
        time.sleep(0.2)
        os.kill(os.getpid(), signum)

    entries, shown = sweep(a="wait", b="wait", meanwhile=interrupt)
    assert shown.signal == signum
    assert states(entries) == {"a": "interrupted", "b": "interrupted"}
    for name in "ab":
        assert Run(tmp_path / name).status()["step"] == 5
        Run(tmp_path / name).lock().release()
        assert entries[name].attempts == 1


def test_a_second_signal_kills_and_each_is_interrupted(sweep, tmp_path):
    def interrupt(folder: Path) -> None:
        until(lambda: all(Run(folder / name).status()["state"] == "running" for name in "ab"))
        pid = int((folder / "a" / "together").read_text())
        os.kill(pid, signal.SIGSTOP)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)

    entries, _ = sweep(a="wait", b="wait", meanwhile=interrupt)
    for name, entry in entries.items():
        assert entry.state == Run(tmp_path / name).status()["state"] == "interrupted"
        assert "before it wrote a checkpoint" in entry.reason


def test_a_member_that_another_process_has_is_put_aside_alone(sweep, hold, tmp_path):
    (tmp_path / "b").mkdir()
    free = hold(tmp_path / "b" / ".lock")  # its status does not tell yet: the process finds out

    def release(folder: Path) -> None:
        until(lambda: Run(folder / "c").finished())
        free()

    entries, shown = sweep(a="finish", b="finish", c="finish", meanwhile=release)
    assert set(states(entries).values()) == {"finished"}
    assert shown.of("b")[:2] == ["started", "busy"]
    assert entries["b"].attempts == 1, "the attempt that could not begin does not count"
    assert (tmp_path / "b" / "log.txt").read_text().count("--- ") == 1
    assert "Trained together" not in (tmp_path / "b" / "log.txt").read_text()
    assert (tmp_path / "a" / "together").exists()


def test_a_member_seen_to_run_elsewhere_is_left_out_and_those_put_aside_go_together(sweep, hold, tmp_path):
    for name in "bc":
        (tmp_path / name).mkdir()
        Run(tmp_path / name).mark("running", 0)
    free = hold(tmp_path / "b" / ".lock", tmp_path / "c" / ".lock")

    def release(folder: Path) -> None:
        until(lambda: Run(folder / "d").finished())
        free()

    entries, shown = sweep(a="finish", b="finish", c="finish", d="finish", meanwhile=release)
    assert set(states(entries).values()) == {"finished"}
    assert shown.of("b")[0] == "busy"
    assert entries["a"].size == entries["b"].size == 2
    assert (tmp_path / "b" / "together").read_text() == (tmp_path / "c" / "together").read_text()
    assert (tmp_path / "a" / "together").read_text() == (tmp_path / "d" / "together").read_text()


def test_who_was_trained_meanwhile_is_not_trained_again(sweep, tmp_path):
    (tmp_path / "b").mkdir()
    FakeJob(Run(tmp_path / "b")).end("finish")
    entries, _ = sweep(a="finish", b="finish")
    assert states(entries) == {"a": "finished", "b": "elsewhere"}
    assert (tmp_path / "a" / "alone").exists()


def test_a_log_that_cannot_be_written_fails_its_own_run_only(sweep, tmp_path):
    (tmp_path / "b" / "log.txt").mkdir(parents=True)
    entries, _ = sweep(retries=0, a="finish", b="finish", c="finish")
    assert states(entries) == {"a": "finished", "b": "failed", "c": "finished"}
    assert "IsADirectoryError" in entries["b"].reason
    for name in "ac":
        assert "IsADirectoryError" not in (tmp_path / name / "log.txt").read_text()


def test_a_training_that_breaks_down_as_a_whole_is_tried_again_one_by_one(sweep, tmp_path, monkeypatch):
    def broken(jobs, *, report, on_switch, on_done):
        on_done(1, jobs[1].end("finish"))
        raise MemoryError("too many at once")

    monkeypatch.setattr(worker, "do_together", broken)
    entries, shown = sweep(a="finish", b="finish", c="finish")
    assert set(states(entries).values()) == {"finished"}
    assert shown.of("a", "waiting") == shown.of("c", "waiting") == ["waiting"]
    assert ("a", "waiting", "MemoryError: too many at once") in shown.said
    assert entries["b"].attempts == 1


def test_a_pack_holds_one_lease(sweep, tmp_path, monkeypatch):
    monkeypatch.setattr("disvae.sweep.devices.lease_folder", lambda: tmp_path / "leases")
    gpus = [Device("GPU-a", "3"), Device("GPU-b", "5")]
    entries, _ = sweep(devices=gpus, a="finish", b="finish")
    assert set(states(entries).values()) == {"finished"}
    assert [path.name for path in (tmp_path / "leases").iterdir()] == ["GPU-a-0.lock"]


def test_members_wait_for_a_gpu_together(sweep, hold, tmp_path, monkeypatch):
    monkeypatch.setattr("disvae.sweep.devices.lease_folder", lambda: tmp_path / "leases")
    (tmp_path / "leases").mkdir()
    free = hold(tmp_path / "leases" / "GPU-a-0.lock")

    def release(folder: Path) -> None:
        until(lambda: (folder / "b" / "log.txt").exists())
        time.sleep(0.5)
        free()

    entries, shown = sweep(devices=[Device("GPU-a", "3")], a="finish", b="finish", meanwhile=release)
    assert set(states(entries).values()) == {"finished"}
    assert shown.of("a")[1] == shown.of("b")[1] == "waiting for a GPU"


def test_a_run_whose_result_is_interrupted_while_it_is_printed_is_finished(tmp_path, monkeypatch):
    def say_result(job, *, brief):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise RuntimeError("half of the table")

    sent = []
    monkeypatch.setattr(worker, "say_result", say_result)
    monkeypatch.setattr(worker, "_print_to", lambda path: None)
    monkeypatch.setattr(sys, "orig_argv", sys.orig_argv)  # is set for the run
    members = worker.Members([FakeJob(Run(tmp_path))], SimpleNamespace(send=sent.append))
    with pytest.raises(Interrupted), interruptible():
        members.done(0, True)
    assert sent == [(0, worker.JobOutcome("finished"))]
