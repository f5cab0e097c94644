"""Who may import whom, so that adding an objective, prior or dataset touches nothing else."""

import ast
from pathlib import Path

import pytest

import disvae

ROOT = Path(disvae.__file__).parent
FAMILIES = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()} - {
    "benchmark",
    "experiment",
    "sweep",
    "comparison",
    "explorer",
}
FRAMEWORKS = {"hydra", "omegaconf", "pytorch_lightning", "lightning_fabric"}


def imports(path: Path) -> set[str]:
    """Modules a file imports at its top level, outside functions."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_import_neither_frameworks_nor_one_another(family):
    for path in (ROOT / family).glob("*.py"):
        for name in imports(path):
            top, _, rest = name.partition(".")
            assert top not in FRAMEWORKS, f"{path}: {family} is plain Python; {top} belongs in build.py or module.py"
            other = rest.partition(".")[0]
            contract = name == f"disvae.{other}"  # a family's __init__ holds its contract, for annotations
            assert top != "disvae" or other not in FAMILIES - {family} or contract, (
                f"{path} imports {name}: take it as a constructor argument and name it in the YAML"
            )


@pytest.mark.parametrize(
    "entry",
    ["train", "evaluate", "score", "command", "status", "compare", "explore", "config", "knobs", "runs", "interrupt"],
)
def test_the_command_line_imports_torch_only_to_compute(entry):
    heavy = {
        "torch",
        "pytorch_lightning",
        "disvae.training.loop",
        "disvae.build",
        "disvae.training.module",
        "disvae.runs.terminal",
        "disvae.evaluation.run_scores",
    }
    assert not heavy & imports(ROOT / f"{entry}.py"), "--help, --cfg and configuration errors must not wait for torch"


def test_the_module_knows_no_objective_by_name():
    source = (ROOT / "module.py").read_text(encoding="utf-8")
    assert "isinstance" not in source
    for path in (ROOT / "objective").glob("[!_]*.py"):
        assert f"objective.{path.stem}" not in source


def test_every_option_is_a_file_of_the_same_name():
    conf = ROOT.parent / "conf"
    for path in conf.glob("*/*.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, target = line.strip().partition(": ")
            if key == "_target_" and line.startswith(("_target_", "  _target_")) and path.parent.name in FAMILIES:
                module = target.rpartition(".")[0]
                assert module.startswith(f"disvae.{path.parent.name}."), f"{path}: {target}"
