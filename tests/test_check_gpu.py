"""scripts/check_gpu.py where there is no GPU: it says so, and its comparisons hold for stand-ins."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from disvae.benchmark.workloads import Place
from disvae.training import module

SCRIPT = Path(__file__).parents[1] / "scripts/check_gpu.py"


def test_without_a_gpu_it_says_so_and_is_content():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "no GPU here\n"), ended.stderr


@pytest.fixture
def script(monkeypatch):
    """The script, for which the CPU is a GPU; a replay makes the step."""
    spec = importlib.util.spec_from_file_location("check_gpu", SCRIPT)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)
    monkeypatch.setattr(checks, "gpu", lambda: Place(torch.device("cpu"), "32-true"))

    class Rehearsal:
        steps, waits, stream = 3, (), None

    monkeypatch.setattr(module, "can_record", lambda device: True)
    monkeypatch.setattr(module, "Rehearsal", lambda device: Rehearsal())
    monkeypatch.setattr(module, "Captured", lambda body, inputs, generators, stream: body)
    return checks


@pytest.mark.parametrize("case", ["mlp factor_vae", "mlp beta_vae, adagrad"])
def test_equal_numbers_pass(script, case):
    for check in (script.captured, script.packed):
        assert check(script.CASES[case]).startswith("a graph; apart by ")


def test_other_numbers_and_missing_graphs_fail(script, monkeypatch):
    case = script.CASES["mlp beta_vae, adagrad"]
    monkeypatch.setattr(module, "Captured", lambda body, inputs, generators, stream: lambda inputs: body(inputs) * 0)
    with pytest.raises(script.Failed, match="a graph; apart by"):
        script.captured(case)
    monkeypatch.setattr(module, "can_record", lambda device: False)
    for check in (script.captured, script.packed):
        with pytest.raises(script.Failed, match="NO GRAPH"):
            check(case)
