"""The benchmark measures what it says, in numbers that fit each other; how fast this machine is, is not tested."""

import io
import json
import re
from functools import partial

import numpy as np
import pytest
import torch
from rich.console import Console
from torch import nn

from disvae.benchmark import workloads
from disvae.benchmark.__main__ import benchmark
from disvae.benchmark.measure import flop
from disvae.benchmark.reference import PlainVAE, plain
from disvae.benchmark.settings import settings
from disvae.benchmark.table import show
from disvae.benchmark.worker import BenchmarkWorker
from disvae.benchmark.workloads import bare, training_of
from disvae.config import ConfigError, options
from disvae.model.conv import Conv
from disvae.system.help import benchmark_help

TINY = ["seconds=0.001", "rounds=1", "threads=1", "device=cpu", "run.dataset.positions=4", "run.eval_images=200"]
POINTS = ("dataset=clusters", "dataset.points=50", "batch_size=20", "split.validation=0.1", "trainer.accelerator=cpu")


def run(tmp_path, capsys, *arguments):
    benchmark([*TINY, f"json={tmp_path / 'speed.json'}", *arguments])
    return json.loads((tmp_path / "speed.json").read_text()), capsys.readouterr().out


def test_steps_have_rates_and_floors(tmp_path, capsys):
    chosen = ["parts=[steps]", "models=[conv,dcgan]", "objectives=[beta_vae,beta_tc]", "batch_sizes=[4,8]"]
    results, said = run(tmp_path, capsys, *chosen, "run.dataset=sprites")
    rows = results["steps"]
    assert [(row["network"], row["objective"], row["batch"]) for row in rows] == [
        (model, objective, size)
        for model in ("conv", "dcgan")
        for objective in ("beta_vae", "beta_tc")
        for size in (4, 8)
    ]
    for row in rows[:4]:
        assert row["steps_per_s"] == pytest.approx(1 / row["eager_s"])
        assert row["floor_share"] == pytest.approx(row["step_flop"] / results["flop_per_s"] / row["eager_s"])
    assert rows[1]["step_flop"] / rows[0]["step_flop"] == pytest.approx(2, rel=0.01)
    assert rows[0]["step_flop"] / 4 == pytest.approx(73.7e6, rel=0.01)
    assert all("dcgan" in row["not_measured"] or "32" in row["not_measured"] for row in rows[4:])
    assert results["packages"]["torch"] == torch.__version__
    assert results["threads"] == 1
    assert "beta_tc" in said


def test_a_packed_step_launches_hardly_more_kernels_than_one_alone(tmp_path, capsys):
    chosen = ["parts=[launches]", "models=[mlp]", "objectives=[beta_vae]", "pack=[2,3]", "run.dataset=sprites"]
    small = ["run.model.encoder_hidden=[8]", "run.model.decoder_hidden=[8]"]
    (row,) = run(tmp_path, capsys, *chosen, *small)[0]["launches"]
    assert row["packed_3"] - row["packed_2"] == 1  # each member draws its own noise
    assert 50 < row["alone"] < row["packed_3"] < 1.5 * row["alone"]


def test_a_bare_step_is_the_first_one_of_a_run(tmp_path, monkeypatch):
    whole = training_of(tmp_path, (*POINTS, "steps=1"))
    whole.train()
    stripped = []
    monkeypatch.setattr(workloads, "training_of", lambda *given: stripped.append(training_of(*given)) or stripped[0])
    bare(tmp_path, POINTS)(1)
    assert stripped[0].module.last_terms == whole.module.last_terms
    torch.testing.assert_close(stripped[0].module.state_dict(), whole.module.state_dict(), rtol=0, atol=0)


def test_the_loop_is_divided_into_its_parts(tmp_path, capsys):
    (row,) = run(tmp_path, capsys, "parts=[loop]", "models=[conv]")[0]["loop"]
    parts = ("batches", "forward", "backward", "update", "terms", "saves", "evals", "rest")
    assert all(row[f"{name}_s"] > 0 for name in parts)
    assert row["outside_share"] == pytest.approx(1 - row["bare_s"] / row["loop_s"])


def test_formats_hold_the_same_images_in_bytes_as_they_should(tmp_path, capsys):
    results, said = run(tmp_path, capsys, "parts=[data]", "batch_sizes=[16]")
    packed, grey, floats = results["data"]
    assert 32 * packed["held_bytes"] == 4 * grey["held_bytes"] == floats["held_bytes"]
    assert floats["held_bytes"] == floats["images"] * 64 * 64 * 4 == 3 * 6 * 40 * 4 * 4 * 64 * 64 * 4
    assert all(row["gather_16_s"] > 0 for row in (packed, grey, floats))
    assert "uint8" in said


@pytest.mark.slow
def test_processes_are_compared_with_one_another(tmp_path, capsys):
    chosen = ["parts=[reference,pack]", "batch_sizes=[8]", "packed_models=[conv]", "pack=[2]"]
    results, said = run(tmp_path, capsys, *chosen)
    (row,) = results["reference"]
    assert row["faster_ratio"] == pytest.approx(row["plain_s"] / row["ours_s"])
    assert min(row["plain_bytes"], row["ours_bytes"]) > 100 * 2**20
    (row,) = results["pack"]
    assert row["faster_ratio"] == pytest.approx(row["packed_steps_per_s"] / row["alone_steps_per_s"])
    assert "faster" in said


def test_the_plain_network_is_ours_of_stock_layers():
    ours, stock = Conv((1, 64, 64), 10, 20, 1), PlainVAE(10)
    stock.load_state_dict(ours.state_dict())
    x, z = torch.rand(2, 1, 64, 64), torch.randn(2, 10)
    assert torch.allclose(stock.encoder(x), ours.encoder(x), atol=1e-5)
    assert torch.allclose(stock.decoder(z), ours.decoder(z), atol=1e-5)
    assert {type(layer) for layer in stock.modules()} & {nn.Conv2d, nn.ConvTranspose2d} == {
        nn.Conv2d,
        nn.ConvTranspose2d,
    }


class Enough(Exception):
    """Ends a loop that has no end."""


def test_the_plain_loop_goes_on_from_epoch_to_epoch(tmp_path):
    torch.manual_seed(0)
    np.save(tmp_path / "images.npy", (np.random.default_rng(0).random((1, 1, 64, 64)) < 0.2).repeat(40, 0))
    turns = []

    def turn():
        if len(turns) == 12:  # five batches an epoch
            raise Enough
        turns.append(1)

    with pytest.raises(Enough):
        plain(turn, tmp_path / "images.npy", 8, 4, 1.0, torch.device("cpu"))


def test_operations_of_products_are_counted():
    a, b = torch.randn(8, 16), torch.randn(16, 4)
    assert flop(partial(torch.matmul, a, b)) == 2 * 8 * 16 * 4


def failing(turn):
    raise ValueError("no such thing")


def test_a_process_that_fails_says_why():
    with pytest.raises(ConfigError, match="a process of the benchmark failed: ValueError: no such thing"):
        BenchmarkWorker(failing)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("parts=[speed]", r"parts must be a list of reference, .*, got \['speed'\]"),
        ("models=[resnet]", r"models must be a list of conv, .*, got \['resnet'\]"),
        ("objectives=[]", r"objectives must be a list of .*beta_tc, .*, got \[\]"),
        ("batch_sizes=[0]", r"batch_sizes must be a list of whole numbers of at least 1, got \[0\]"),
        ("pack=4", r"pack must be a list of whole numbers of at least 1, got 4"),
        ("seconds=0", "seconds must be a number of seconds below 3600, got 0"),
        ("rounds=1.5", "rounds must be a whole number of at least 1, got 1.5"),
        ("rounds=auto", "rounds must be a whole number of at least 1, got auto"),
        ("threads=all", "threads must be a whole number of at least 1, got all"),
        ("precision=fp8", "precision must be 32-true, tf32, bf16-mixed, got fp8"),
        ("device=tpu", "device must be auto, cpu, cuda, got tpu"),
        ("json=/no/such/folder/speed.json", "json must be a file in a folder that exists, got /no/such/folder"),
        ("batchsize=3", "batchsize is not a setting; did you mean batch_size="),
    ],
)
def test_settings_that_cannot_be_are_refused(argument, message):
    with pytest.raises(ConfigError, match=message):
        settings([argument])


@pytest.mark.parametrize(("setting", "group"), [("objectives", "objective"), ("models", "model")])
def test_help_names_the_options_that_are_measured_by_default(setting, group):
    (line,) = [line for line in benchmark_help("").splitlines() if line.startswith(f"  {setting}=")]
    assert set(settings([])[setting]) <= {*options(group)} & set(re.findall(r"\w+", line))


def test_a_table_writes_each_number_in_the_unit_of_its_key():
    row = {"network": "conv", "batch": 1024, "steps_per_s": 12345.6, "step_flop": 4.1e6, "floor_share": 0.5}
    row |= {"plain_s": 1.73, "ours_s": 0.0344, "faster_ratio": 50.3, "held_bytes": 2**30}
    screen = Console(width=120, record=True, file=io.StringIO())
    show("Numbers", [row, {"network": "dcgan"}], screen)
    said = screen.export_text()
    for cell in ("conv", "dcgan", "1024", "12,346", "4.1", "50.0", "1,730", "34.4", "50.30", "1,024", "held MiB"):
        assert cell in said


def test_an_override_that_names_nothing_is_refused():
    with pytest.raises(ConfigError, match="z_dimm"):
        benchmark([*TINY, "run.z_dimm=3", "parts=[data]"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="for machines without a GPU")
def test_what_needs_a_gpu_says_so():
    with pytest.raises(ConfigError, match="device=cuda needs a GPU"):
        benchmark(["device=cuda"])
    with pytest.raises(ConfigError, match="precision=tf32 is for a GPU: type precision=32-true"):
        benchmark(["device=cpu", "precision=tf32"])
