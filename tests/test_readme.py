"""The commands of README and of all pages are run or composed, links resolve, and the table of options is complete."""

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
from PIL import Image

from disvae.config import conf_dir, options
from disvae.sweep.axes import expand
from disvae.training.job import Job

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
RECIPE = TEXT.partition("## Add an objective")[2]
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))}
HOWTO = PAGES[ROOT / "docs/howto.md"]
NETWORK = HOWTO.partition("use my own network?")[2]


def anchors(text: str) -> set[str]:
    """The names that a forge and the site give to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_link_of_a_page_leads_somewhere(page):
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", PAGES[page]):
        target, _, anchor = link.partition("#")
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), link
        assert not anchor or anchor in anchors(PAGES[path]), link


def test_every_page_is_in_the_index_and_in_the_sites_list():
    index = PAGES[ROOT / "docs/index.md"]
    listed = re.findall(r"^(?:.*<)?([/\w]+)>?$", index.partition("```{toctree}")[2].partition("```")[0], re.MULTILINE)
    names = {"/README", *(path.stem for path in PAGES if path.parent.name == "docs")} - {"index"}
    assert sorted(listed) == sorted(names)
    assert all(f"({name}.md)" in index for name in names - {"/README"})


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
    exec(block("python", NETWORK), module)
    node = yaml.safe_load(block("yaml", NETWORK))
    network = module[node.pop("_target_").rpartition(".")[2]]((3, 8, 8), 4, 6, 2, **node)
    assert network.encoder(torch.zeros(5, 3, 8, 8)).shape == (5, 6)
    assert network.decoder(torch.zeros(5, 4)).shape == (5, 6, 8, 8)


@pytest.mark.parametrize("group", sorted({path.parent.name for path in conf_dir().glob("*/*.yaml")} - {"trainer"}))
def test_the_table_of_options_is_complete(group):
    rows = {row.split("`")[1].partition("@")[0]: row for row in TEXT.splitlines() if row.startswith("| `")}
    assert set(options(group)) <= set(re.findall(r"`(\w+)`", rows[group]))


SHOWN = re.compile(r"(?:^(?:    )?|`)((?:python -m disvae\.|\./scripts/train)[^`#\n]*?) *(?:`|#|$)", re.MULTILINE)
OTHERS = tuple(f"python -m disvae.{name}" for name in ("train", "tune", "benchmark", "new"))


def commands(text: str) -> list[str]:
    """The whole commands that a text shows, without those that it leaves open with `...`."""
    shown = {re.sub(r"^\./scripts/train", "python -m disvae.train", line) for line in SHOWN.findall(text)}
    return sorted(line for line in shown if "..." not in line)


OF_RUNS = [line for line in commands(TEXT + HOWTO) if not line.startswith(OTHERS)]
ELSEWHERE = re.compile(r"--help|plugins=|hydra/|hparams_search=")
"""What other tests run: the help, and what needs a plugin, a cluster or a search."""

TRAINING = [
    line
    for line in commands(re.sub(r"\\\n +", "", "\n".join(PAGES.values())))
    if line.startswith("python -m disvae.train") and not ELSEWHERE.search(line)
]


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
    assert len(TRAINING) >= 30
    assert {line.split()[2] for line in OF_RUNS} == {
        f"disvae.{name}"
        for name in ("evaluate", "score", "status", "compare", "explore", "report", "encode", "export", "recipes")
    }


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder with the data of the examples: images.npz, and FOLDER with a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64), dtype=np.uint8)
    np.savez(folder / "images.npz", images=images)
    (folder / "FOLDER").mkdir()
    Image.fromarray(images[0]).save(folder / "FOLDER/1.png")
    return folder


@pytest.mark.parametrize("line", TRAINING)
def test_every_training_that_is_shown_can_be(line, pictures, monkeypatch):
    monkeypatch.chdir(pictures)
    given = jobs(line)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        for job in given[:: len(given) - 1 or 1]:  # the first and the last, which differ in every list
            cfg = compose("config", overrides=job, return_hydra_config=True)
            choices = cfg.hydra.runtime.choices
            with open_dict(cfg):
                del cfg["hydra"]
            assert Job.of(cfg, job, choices).run.state() == "new"


@pytest.fixture(scope="module")
def place(tmp_path_factory, pictures):
    """A folder with two small runs of sprites in outputs/, codes.h5, images.npz and FOLDER."""
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
    shutil.copytree(pictures, folder, dirs_exist_ok=True)
    return folder


def one_run(place: Path) -> str:
    return str(min(config.parent.relative_to(place) for config in place.glob("outputs/sprites/*/config.yaml")))


def test_the_program_of_the_howto_loads_a_run(place, monkeypatch):
    monkeypatch.chdir(place)
    names: dict = {}
    program = block("python", HOWTO.partition("load a run in a program?")[2])
    exec(program.replace("outputs/sprites/RUN", one_run(place)), names)
    assert names["codes"].shape == (3, 3)
    assert names["pictures"].shape == names["images"].shape == (3, 1, 64, 64)
    assert Path("reconstruction.png").exists()


@pytest.mark.parametrize("line", OF_RUNS)
def test_every_command_of_runs_and_codes_that_is_shown_works(line, place, monkeypatch):
    monkeypatch.chdir(place)
    line = re.sub(r"(outputs/\w+/)?RUN", shlex.quote(one_run(place)), line)
    quick = ["score.repeats=2", "score.controls=[]"] if re.search(r"\.(evaluate|score) ", line) else []
    quick += ["metric.dci.trees=1"] if "[dci]" in line else []
    call(line.replace("FILE", "codes.h5"), monkeypatch, *quick)
