"""The benchmark measures what it says, in numbers that fit each other; how fast this machine is, is not tested."""

import io
import json
import re

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from disvae.benchmark.__main__ import benchmark, settings
from disvae.benchmark.measure import work
from disvae.benchmark.reference import PlainVAE, reference
from disvae.benchmark.table import show
from disvae.benchmark.worker import Worker
from disvae.config import ConfigError, options
from disvae.model.conv import Conv
from disvae.system.help import benchmark_help

TINY = ["seconds=0.001", "rounds=1", "threads=1", "device=cpu", "run.dataset.positions=4", "run.eval_images=200"]


def run(tmp_path, capsys, *arguments):
    benchmark([*TINY, f"json={tmp_path / 'speed.json'}", *arguments])
    return json.loads((tmp_path / "speed.json").read_text()), capsys.readouterr().out


def test_steps_have_rates_floors_and_shares(tmp_path, capsys):
    chosen = ["parts=[steps]", "models=[conv,dcgan]", "objectives=[beta_vae,beta_tc]", "batch_sizes=[4,8]"]
    results, said = run(tmp_path, capsys, *chosen)
    rows = results["steps"]
    assert [(row["model"], row["objective"], row["batch_size"]) for row in rows] == [
        (model, objective, size)
        for model in ("conv", "dcgan")
        for objective in ("beta_vae", "beta_tc")
        for size in (4, 8)
    ]
    for row in rows[:4]:
        assert row["images_per_s"] == pytest.approx(row["batch_size"] * row["steps_per_s"])
        assert row["floor_s"] == pytest.approx(row["flop"] / results["flop_per_s"])
        assert row["share_of_floor"] == pytest.approx(row["floor_s"] * row["steps_per_s"])
        assert row["parts_s"].keys() == {"data", "forward", "backward", "optimizer"}
        assert row["launches"] > 100
    assert rows[1]["flop"] / rows[0]["flop"] == pytest.approx(2, rel=0.01)
    assert rows[0]["flop"] / 4 == pytest.approx(73.7e6, rel=0.01)
    assert {row["not_measured"] for row in rows[4:]} == {"needs fashion_mnist=FOLDER"}
    assert results["packages"]["torch"] == torch.__version__
    assert results["threads"] == 1
    assert results["processor"]
    assert "beta_tc" in said
    assert "needs fashion_mnist=FOLDER" in said


def test_the_loop_is_divided_into_its_parts(tmp_path, capsys):
    (row,) = run(tmp_path, capsys, "parts=[loop]")[0]["loop"]
    parts = row["seconds_per_1000_steps"]
    assert parts.keys() == {"steps", "curves", "checkpoints", "validation", "Lightning"}
    assert all(value > 0 for value in parts.values())
    outside = parts["curves"] + parts["checkpoints"] + parts["Lightning"]
    assert row["share_outside_steps"] == pytest.approx(outside / (outside + parts["steps"]))


def test_formats_hold_the_same_images_in_bytes_as_they_should(tmp_path, capsys):
    results, said = run(tmp_path, capsys, "parts=[data]", "batch_sizes=[16]")
    packed, grey, floats, sprites = results["data"]
    assert 32 * packed["bytes"] == 4 * grey["bytes"] == floats["bytes"] == floats["images"] * 64 * 64 * 4
    assert all(row["gather_16_s"] > 0 for row in (packed, grey, floats))
    assert sprites["images"] == 3 * 6 * 40 * 4 * 4
    assert sprites["make_s"] > 0
    assert sprites["load_s"] > 0
    assert "bit-packed" in said


@pytest.mark.slow
def test_processes_are_compared_with_one_another(tmp_path, capsys):
    chosen = ["parts=[reference,pack,memory]", "batch_sizes=[8]", "packed_models=[conv]", "pack=[2]"]
    results, said = run(tmp_path, capsys, *chosen)
    (row,) = results["reference"]
    assert row["ratio"] == pytest.approx(row["plain_s"] / row["disvae_s"])
    assert row["cpu_ratio"] == pytest.approx(row["plain_cpu_s"] / row["disvae_cpu_s"])
    (row,) = results["pack"]
    assert all(row[f"{name}_run_steps_per_s"] > 0 for name in ("packed", "one_after_another", "processes"))
    assert row["processes_peak_bytes"] > 100 * 2**20
    (row,) = results["memory"]
    assert 100 * 2**20 < row["imports_bytes"] < row["ready_bytes"] <= row["steps_bytes"]
    assert "times faster" in said


def test_the_plain_network_is_ours_of_stock_layers():
    ours, plain = Conv((1, 64, 64), 10, 20, 1), PlainVAE(10)
    plain.load_state_dict(ours.state_dict())
    x, z = torch.rand(2, 1, 64, 64), torch.randn(2, 10)
    assert torch.allclose(plain.encoder(x), ours.encoder(x), atol=1e-5)
    assert torch.allclose(plain.decoder(z), ours.decoder(z), atol=1e-5)
    assert {type(layer) for layer in plain.modules()} & {nn.Conv2d, nn.ConvTranspose2d} == {
        nn.Conv2d,
        nn.ConvTranspose2d,
    }


def test_the_plain_loop_learns_and_goes_on_from_epoch_to_epoch(tmp_path):
    torch.manual_seed(0)
    np.save(tmp_path / "images.npy", (np.random.default_rng(0).random((1, 1, 64, 64)) < 0.2).repeat(40, 0))
    run = reference(tmp_path / "images.npy", 8, 4, 1.0, torch.device("cpu"))
    run(12)  # five batches an epoch
    losses = run.__closure__[[*run.__code__.co_freevars].index("losses")].cell_contents
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_work_counts_operations_that_compute():
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    counted = work(lambda: (a @ b).t().view(4, 8))
    assert counted == {"flop": 2 * 8 * 16 * 4, "launches": 1, "bytes": 4 * (8 * 16 + 16 * 4 + 8 * 4)}


def failing():
    raise ValueError("no such thing")


def test_a_process_that_fails_says_why():
    with pytest.raises(ConfigError, match="a process of the benchmark failed: ValueError: no such thing"):
        Worker(1, failing)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("parts=[speed]", r"parts must be a list of reference, .*, got \['speed'\]"),
        ("models=[resnet]", r"models must be a list of conv, .*, got \['resnet'\]"),
        ("objectives=[]", r"objectives must be a list of beta_tc, .*, got \[\]"),
        ("batch_sizes=[0]", r"batch_sizes must be a list of whole numbers of at least 1, got \[0\]"),
        ("pack=4", r"pack must be a list of whole numbers of at least 1, got 4"),
        ("seconds=0", "seconds must be a positive number, got 0"),
        ("rounds=1.5", "rounds must be a whole number of at least 1, got 1.5"),
        ("threads=all", "threads must be a whole number of at least 1, got all"),
        ("precision=fp8", "precision must be 32-true, tf32, bf16-mixed, got fp8"),
        ("device=tpu", "device must be auto, cpu or cuda, got tpu"),
        ("json=/no/such/folder/speed.json", "must be a file in a folder that is there"),
        ("fashion_mnist=/no/such/folder", "fashion_mnist must be a folder that is there, got /no/such/folder"),
        ("dsprites=/no/such.npz", "dsprites must be a file that is there, got /no/such.npz"),
        ("batchsize=3", "batchsize=3: .*; see --help"),
    ],
)
def test_settings_that_cannot_be_are_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        settings([argument])


@pytest.mark.parametrize(("setting", "group"), [("objectives", "objective"), ("models", "model")])
def test_help_names_every_option_whether_or_not_it_is_measured_by_default(setting, group):
    (line,) = [line for line in benchmark_help("").splitlines() if line.startswith(f"  {setting}=")]
    assert set(re.findall(r"\w+", line)) >= {*options(group), *settings([])[setting]}


def test_the_tables_fit_a_narrow_terminal_and_hold_plain_numbers():
    step = {"model": "conv", "objective": "factor_vae", "batch_size": 1024, "steps_per_s": 12345.6}
    step |= {"flop": 4.1e6, "share_of_floor": 0.5, "launches": 150}
    step |= {"parts_s": {"data": 0.01, "forward": 0.3, "backward": 0.6, "optimizer": 0.09}}
    screen = Console(width=80, record=True, file=io.StringIO())
    show("steps", [step], screen)
    said = screen.export_text()
    for cell in ("conv", "factor_vae", "12,346", "4.1", "50 %", " 1 30 60  9"):
        assert cell in said
    times = {"plain_s": 1.73, "disvae_s": 0.0344, "ratio": 50.3, "cpu_ratio": 40.0}
    row = {"batch_size": 64, "plain_peak_bytes": 2**30, "disvae_peak_bytes": 2**30, **times}
    show("reference", [row], screen)
    said = screen.export_text()
    assert "1,730" in said
    assert "34.4" in said


def test_an_override_that_names_nothing_is_refused():
    with pytest.raises(ConfigError, match="z_dimm"):
        benchmark([*TINY, "run.z_dimm=3", "parts=[loop]"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_what_needs_a_gpu_says_so():
    with pytest.raises(ConfigError, match="device=cuda needs a GPU"):
        benchmark(["device=cuda"])
    with pytest.raises(ConfigError, match="precision=tf32 is for a GPU: type precision=32-true"):
        benchmark(["device=cpu", "precision=tf32"])
