import multiprocessing
import os
import signal

import pytest

from disvae.sweep import devices
from disvae.sweep.devices import Device, named

GPUS = [Device("GPU-a", "3"), Device("GPU-b", "5")]


def hold(connection, gpus, per_device):
    """A job: lease a GPU, tell which, keep it until told to end."""
    held = devices.lease(gpus, per_device, lambda: connection.send("waiting"), pause=0.05)
    connection.send((os.environ["CUDA_VISIBLE_DEVICES"], os.path.basename(held.lock_file)))
    connection.recv()


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Start a job that leases; its end of a pipe and its process."""
    monkeypatch.setattr(devices, "lease_folder", lambda: tmp_path / "leases")
    context = multiprocessing.get_context("fork")
    started = []

    def begin(gpus=GPUS, per_device=1):
        ours, theirs = context.Pipe()
        process = context.Process(target=hold, args=(theirs, gpus, per_device))
        process.start()
        theirs.close()
        started.append(process)
        return ours, process

    yield begin
    for process in started:
        process.kill()
        process.join()


def test_jobs_spread_over_gpus_before_they_share_one(start):
    told = [start(per_device=2)[0].recv() for _ in range(4)]
    assert told == [("3", "GPU-a-0.lock"), ("5", "GPU-b-0.lock"), ("3", "GPU-a-1.lock"), ("5", "GPU-b-1.lock")]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, None])
def test_who_dies_in_any_way_gives_its_gpu_to_the_one_that_waits(start, end):
    first, process = start(GPUS[:1])
    assert first.recv() == ("3", "GPU-a-0.lock")
    second, _ = start(GPUS[:1])
    assert second.recv() == "waiting"
    assert not second.poll(0.3)
    if end is None:
        first.send("end")
    else:
        os.kill(process.pid, end)
    assert second.recv() == ("3", "GPU-a-0.lock")


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ["0", "1"]), ("2,7", ["2", "7"]), ("GPU-b, GPU-a", ["GPU-b", "GPU-a"])],
)
def test_a_gpu_keeps_the_name_it_has_for_this_process(visible, names):
    assert [device.visible for device in named(["x", "y"], visible)] == names


def test_the_cpu_asks_for_no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_has_node", lambda: pytest.fail("it looked"))
    assert devices.find("cpu") == []
