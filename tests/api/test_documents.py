"""The examples of docs/python.md, of the notebook and of the README run."""

import doctest
import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_page_give_what_it_shows(small, capsys):
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == text.count("```python") >= 7
    if not find_spec("pandas"):
        blocks = [block for block in blocks if "disvae.runs" not in block]
    rng = np.random.default_rng(0)
    names = {"torch": torch, "codes": rng.normal(size=(300, 3)), "factors": rng.integers(3, size=(300, 2))}
    example = doctest.DocTestParser().get_doctest("\n".join(blocks), names, "docs/python.md", "docs/python.md", 0)
    results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, clear_globs=False)
    assert results.attempted > 20
    assert not results.failed, capsys.readouterr().out


def test_the_cells_of_the_notebook_run_and_hold_no_outputs(small):
    notebook = json.loads((ROOT / "docs" / "example.ipynb").read_text(encoding="utf-8"))
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            exec("".join(cell["source"]), names)
    assert names["reconstructions"].shape == (len(names["rows"]), 1, 64, 64)
    assert names["scores"]["mig/histogram"].keys() == {"model", "rotation", "chance"}


def test_the_example_of_the_readme_runs(small):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    names: dict = {}
    exec(re.search(r"```python\n(import disvae\n.*?)```", text, re.DOTALL)[1], names)
    assert names["code"].shape == (1, 10)
