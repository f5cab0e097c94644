"""scripts/check_gpu.py where there is no GPU: it says so, and its comparisons hold for stand-ins."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from disvae.training import build_module, cuda_graph, loop

SCRIPT = Path(__file__).parents[1] / "scripts/check_gpu.py"


def test_without_a_gpu_it_says_so_and_is_content():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    ended = subprocess.run([sys.executable, SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "no GPU here\n"), ended.stderr


def let_the_cpu_record(monkeypatch, whether):
    for asks in (build_module, cuda_graph, loop):
        monkeypatch.setattr(asks, "can_record", lambda device: whether)


@pytest.fixture
def script(monkeypatch):
    """The script, for which the CPU is a GPU: a rehearsal makes the step, and so does a replay."""
    spec = importlib.util.spec_from_file_location("check_gpu", SCRIPT)
    checks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(checks)

    class Rehearsal:
        def __init__(self, device):
            self.steps, self.waits, self.stream = 0, [], None

        def __call__(self, step):
            self.steps += 1
            return step()

    let_the_cpu_record(monkeypatch, True)
    monkeypatch.setattr(cuda_graph, "Rehearsal", Rehearsal)
    monkeypatch.setattr(cuda_graph, "Captured", lambda body, inputs, generators, stream: body)
    return checks


@pytest.mark.parametrize("case", ["mlp factor_vae", "mlp beta_vae, adagrad", "mlp beta_vae, warm-up"])
def test_equal_numbers_pass(script, case):
    for check in (script.captured, script.packed):
        assert check(script.CASES[case]).startswith("apart by ")


def test_other_numbers_and_missing_graphs_fail(script, monkeypatch):
    case = script.CASES["mlp beta_vae, adagrad"]
    wrong = lambda body, inputs, generators, stream: lambda inputs: body(inputs) * 1.1  # noqa: E731
    monkeypatch.setattr(cuda_graph, "Captured", wrong)
    for check in (script.captured, script.packed):
        with pytest.raises(script.Failed, match="apart by"):
            check(case)
    let_the_cpu_record(monkeypatch, False)
    for check in (script.captured, script.packed):
        with pytest.raises(script.Failed, match="logged about graphs: nothing"):
            check(case)


def test_a_step_that_cannot_be_recorded_is_made_eagerly(script, monkeypatch):
    def breaks(body, inputs, generators, stream):
        if script.BetaVAE.forward.__name__ == "asks":
            raise RuntimeError("operation not permitted when stream is capturing")
        return body

    monkeypatch.setattr(cuda_graph, "Captured", breaks)
    monkeypatch.setattr(script, "Unseeing", cuda_graph.Rehearsal)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setitem(script.CASES, "conv beta_vae", script.CASES["mlp beta_vae, warm-up"])
    assert "another graph after them apart by" in script.falls_back()


def test_the_other_members_of_a_pack_go_on_without_the_one_that_diverges(script, monkeypatch):
    monkeypatch.setitem(script.CASES, "conv beta_vae", (*script.POINTS, "objective=beta_vae"))
    assert script.left_behind().startswith("apart by ")


def test_a_run_that_was_stopped_goes_on(script, monkeypatch):
    monkeypatch.setattr(script, "SPRITES", script.POINTS)
    place = script.configuration
    monkeypatch.setattr(script, "configuration", lambda given: place([word.replace("=gpu", "=cpu") for word in given]))
    assert script.resumes().count("gpu to gpu") == 2
