"""What of the machine a sweep takes."""

import os

import pytest

from disvae.system import machine


@pytest.fixture
def container(tmp_path, monkeypatch):
    """A machine of 8 cores and 64 GiB, and what its control group allows."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 4096}[name])
    monkeypatch.setattr(machine, "CGROUP", tmp_path)

    def allow(cpu: str | None = None, memory: str | None = None) -> None:
        for name, value in (("cpu.max", cpu), ("memory.max", memory)):
            if value is not None:
                (tmp_path / name).write_text(value + "\n")

    return allow


def test_a_job_takes_a_core_and_two_gibibytes(container):
    assert machine.processes("auto") == 8
    container(memory=str(7 * 2**30))
    assert machine.processes("auto") == 3
    assert machine.processes(5) == 5


@pytest.mark.parametrize(
    ("quota", "cores"), [("300000 100000", 3), ("max 100000", 8), ("50000 100000", 1), ("1600000 100000", 8)]
)
def test_a_containers_share_of_the_cores_counts(container, quota, cores):
    container(cpu=quota, memory="max")
    assert machine.cores() == machine.processes("auto") == cores


def test_threads_are_shared_out_unless_the_user_has(container, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    machine.share_threads(4)
    assert os.environ["OMP_NUM_THREADS"] == "5"
    monkeypatch.delenv("OMP_NUM_THREADS")
    machine.share_threads(3)
    assert os.environ["OMP_NUM_THREADS"] == "2"
    monkeypatch.delenv("OMP_NUM_THREADS")
    machine.share_threads(9)
    assert os.environ["OMP_NUM_THREADS"] == "1"
