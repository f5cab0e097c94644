"""The README's recipe is run, and its table holds every option."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from disvae.config import conf_dir, options

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    return re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)[1]


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


@pytest.mark.parametrize("group", sorted({path.parent.name for path in conf_dir().glob("*/*.yaml")} - {"trainer"}))
def test_the_table_of_options_is_complete(group):
    rows = {row.split("`")[1].partition("@")[0]: row for row in TEXT.splitlines() if row.startswith("| `")}
    assert set(options(group)) <= set(re.findall(r"`(\w+)`", rows[group]))
