"""The README's recipe and commands are run, and its table holds every option."""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from disvae.config import conf_dir, options
from disvae.sweep.axes import expand
from disvae.training.job import Job

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPE = TEXT.partition("## Add an objective")[2]
HOWTO = (ROOT / "docs/howto.md").read_text(encoding="utf-8")


def block(language: str, text: str = RECIPE) -> str:
    return re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]


def test_an_objective_is_added_with_the_two_files_of_the_readme(tmp_path):
    for folder in ("disvae", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    (tmp_path / "disvae/objective/entropy_vae.py").write_text(block("python"))
    (tmp_path / "conf/objective/entropy_vae.yaml").write_text(block("yaml"))
    done = subprocess.run(
        [sys.executable, "-m", "disvae.train", "dataset=clusters", "steps=3", "objective=entropy_vae",
         "objective.weight=0.5", "eval_images=20", "eval_samples=10"],
        cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "│ entropy " in done.stdout


def test_a_network_is_added_with_the_two_files_of_the_howto():
    import torch
    import yaml

    module: dict[str, type] = {}
    exec(block("python", HOWTO), module)
    node = yaml.safe_load(block("yaml", HOWTO))
    network = module[node.pop("_target_").rpartition(".")[2]]((3, 8, 8), 4, 6, 2, **node)
    assert network.encoder(torch.zeros(5, 3, 8, 8)).shape == (5, 6)
    assert network.decoder(torch.zeros(5, 4)).shape == (5, 6, 8, 8)


@pytest.mark.parametrize("group", sorted({path.parent.name for path in conf_dir().glob("*/*.yaml")} - {"trainer"}))
def test_the_table_of_options_is_complete(group):
    rows = {row.split("`")[1].partition("@")[0]: row for row in TEXT.splitlines() if row.startswith("| `")}
    assert set(options(group)) <= set(re.findall(r"`(\w+)`", rows[group]))


SHOWN = re.compile(r"(?:^    |`)((?:python -m disvae\.|\./scripts/train)[^`#\n]*?) *(?:`|#|$)", re.MULTILINE)
OTHERS = tuple(f"python -m disvae.{name}" for name in ("train", "tune", "benchmark", "new"))
COMMANDS = sorted(
    {re.sub(r"^\./scripts/train", "python -m disvae.train", line) for line in SHOWN.findall(TEXT + HOWTO)}
)
OF_RUNS = [line for line in COMMANDS if not line.startswith(OTHERS)]
TRAINING = [line for line in COMMANDS if line.startswith("python -m disvae.train") and "--help" not in line]


def call(line: str, monkeypatch, *more: str) -> None:
    _, _, module, *arguments = shlex.split(line)
    monkeypatch.setattr(sys, "argv", [module, *arguments, *more])
    importlib.import_module(module).main()


def jobs(line: str) -> list[list[str]]:
    """The overrides of a training, once for each combination of its lists."""
    given = [expand(argument) for argument in shlex.split(line)[3:] if "=" in argument]
    parsed = OverridesParser.create().parse_overrides(given)
    axes = [
        [f"{each.get_key_element()}={value}" for value in each.sweep_string_iterator()]
        if each.is_sweep_override()
        else [each.input_line]
        for each in parsed
    ]
    return list(map(list, product(*axes)))


def test_the_commands_are_found():
    assert len(TRAINING) >= 5
    assert {line.split()[2] for line in OF_RUNS} == {
        f"disvae.{name}"
        for name in ("evaluate", "score", "status", "compare", "explore", "report", "encode", "export", "recipes")
    }


@pytest.mark.parametrize("line", TRAINING)
def test_every_training_that_is_shown_can_be(line):
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for job in jobs(line):
            cfg = compose("config", overrides=job, return_hydra_config=True)
            choices = cfg.hydra.runtime.choices
            with open_dict(cfg):
                del cfg["hydra"]
            assert Job.of(cfg, job, choices).run.state() == "new"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with two small runs of sprites in outputs/, and codes.h5."""
    import h5py

    folder = tmp_path_factory.mktemp("readme")
    small = ("dataset.orientations=4", "dataset.positions=4", "dataset.scales=2", "model=mlp", "z_dim=3", "steps=2")
    quick = (
        "split.validation=0.5",
        "model.encoder_hidden=[8]",
        "model.decoder_hidden=[8]",
        "eval_images=200",
        "eval_samples=20",
        "metric=[]",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for seed in (0, 1):
            none = ("final=[]", "figure=[]", "final_figures=[]", "report=false", f"seed={seed}")
            call("python -m disvae.train", patch, *small, *quick, *none)
    with h5py.File(folder / "codes.h5", "w") as file:
        rng = np.random.default_rng(0)
        file["codes"], file["factors"] = rng.normal(size=(200, 3)), rng.integers(3, size=(200, 2))
    np.savez(folder / "images.npz", images=rng.integers(0, 256, (2, 64, 64), dtype=np.uint8))
    return folder


@pytest.mark.parametrize("line", OF_RUNS)
def test_every_command_of_runs_and_codes_that_is_shown_works(line, place, monkeypatch):
    monkeypatch.chdir(place)
    run = min(config.parent.relative_to(place) for config in place.glob("outputs/sprites/*/config.yaml"))
    line = line.replace("outputs/sprites/RUN", "RUN").replace("RUN", shlex.quote(str(run)))
    quick = ["score.repeats=2", "score.controls=[]"] if re.search(r"\.(evaluate|score) ", line) else []
    quick += ["metric.dci.trees=1"] if "[dci]" in line else []
    call(line.replace("FILE", "codes.h5"), monkeypatch, *quick)
