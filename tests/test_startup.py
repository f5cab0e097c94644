"""What a command waits for before it begins: the libraries that it imports."""

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import disvae

SLOW = {"torch", "pytorch_lightning", "sklearn", "scipy", "matplotlib", "h5py", "joblib", "torchmetrics", "numpy"}
SLOW |= {"jinja2"}  # which only a page needs

COMMAND = """
import gc, sys
from disvae.{entry} import main
sys.argv = ["disvae", *sys.argv[1:]]
main()
print("imported", *sys.modules.keys() & set({slow}))
assert gc.isenabled()
"""


def imported(entry: str, *arguments: str) -> set[str]:
    """The slow libraries that a command has imported when it ends."""
    code = COMMAND.format(entry=entry, slow=sorted(SLOW))
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [line] = [line for line in done.stdout.splitlines() if line.startswith("imported")]
    return set(line.split()[1:])


@pytest.mark.parametrize("entry", ["train", "evaluate", "score", "status", "compare", "explore"])
def test_help_imports_nothing_slow(entry):
    assert imported(entry, "--help") <= {"scipy", "numpy"} if entry == "compare" else not imported(entry, "--help")


def test_a_run_imports_what_it_trains_with_and_a_finished_one_no_torch(tiny, tmp_path):
    run = (*tiny, "metric=[]", f"out={tmp_path}")
    lightning = {"pytorch_lightning", "torchmetrics", "scipy", "matplotlib"}  # what Lightning's own log needs
    assert imported("train", *run) == {"torch", "numpy"} | lightning
    assert imported("train", *run) == {"numpy"}  # for the ELBO's curve, which the verdict reads
    assert not imported("status", str(tmp_path))


def test_scoring_a_file_imports_no_lightning(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "codes.npz"
    np.savez(path, codes=rng.standard_normal((200, 3)), factors=rng.integers(0, 3, (200, 2)))
    assert not imported("score", str(path), "metric=[mig]", "score.repeats=2") & {"pytorch_lightning", "matplotlib"}


def test_a_python_without_the_dependencies_is_told_what_to_type(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "rich" else name)
    with pytest.raises(SystemExit) as ended:
        exec(Path(disvae.__file__).read_text(encoding="utf-8"), {"__name__": "disvae"})
    assert ended.value.code == 2
    assert "lacks the package rich: type source .venv/bin/activate" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["train", "status", "compare", "new"])
def test_every_command_tells_our_version(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--version"])
    importlib.import_module(f"disvae.{name}").main()
    assert capsys.readouterr().out == f"disvae {disvae.__version__}\n"
