"""Who may import whom, so that a newcomer finds his way and adding an option touches nothing else."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import disvae

ROOT = Path(disvae.__file__).parent
COMMANDS = (
    "new", "train", "evaluate", "score", "compare", "status", "report", "explore", "encode", "export", "recipes",
    "tune", "benchmark",
)  # fmt: skip
DISTRIBUTIONS = ("prior", "posterior", "likelihood")
ORDER = (
    COMMANDS,
    ("tuning",),
    ("api",),
    ("experiment",),  # compares the runs of a sweep with what a paper claims
    ("comparison", "explorer"),
    ("sweep",),
    ("training",),
    ("callbacks", "logger", "scheduler"),  # what Lightning's trainer is given
    ("figure",),
    ("pictures",),
    ("evaluation",),
    ("build",),
    ("objective", "metric"),
    ("divergence",),
    ("statistics",),
    ("estimators", "encoding"),
    ("vae",),
    (*DISTRIBUTIONS, "model", "dataset", "optimizer"),
    ("schedule", "distribution"),
    ("data",),
    ("runs",),
    ("system",),
    ("config",),
    ("",),  # the package's own __init__
)
"""Rooms from the top floor down: each imports from the floors below it and from itself."""

FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
ROOMS_OF_LIGHTNING = {"callbacks", "logger", "scheduler"}
FAMILIES = {path.name for path in (ROOT.parent / "conf").iterdir() if (ROOT / path.name).is_dir()} - {"experiment"}
OF_A_BATCH = {"disvae.dataset.batches", "disvae.dataset.samplers"}
"""Files of the datasets that are no options: an objective chooses the rows of its batches with them."""

FRAMEWORKS = {"hydra", "omegaconf", "pytorch_lightning", "lightning_fabric"}
CONVENTIONAL = {"main", "log"}
"""Names that every command, or every file with a logger, has."""

OF_PYTHON = {"load", "score", "train"}
"""Names that `import disvae` gives; a command or a reader of files has the same verb for the same thing."""


def modules() -> dict[str, Path]:
    """Every file of the package by its module's name."""
    found = {}
    for path in ROOT.rglob("*.py"):
        name = ".".join(("disvae", *path.relative_to(ROOT).with_suffix("").parts))
        found[name.removesuffix(".__init__")] = path
    return found


MODULES = modules()


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def imports(path: Path, *, everywhere: bool) -> set[str]:
    """Modules that a file imports, at its top level or, `everywhere`, inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= (submodules & MODULES.keys()) or {node.module or ""}
    return names


def arrows() -> Iterator[tuple[str, str]]:
    """Every import of one file of the package by another."""
    for module, path in MODULES.items():
        for name in imports(path, everywhere=True):
            if name.partition(".")[0] == "disvae" and name != module:
                yield module, name


def test_every_room_has_its_floor():
    assert {room(module) for module in MODULES} == FLOOR.keys()


def test_imports_run_downwards():
    upwards = [
        f"{one} imports {other}"
        for one, other in arrows()
        if room(one) != room(other) and FLOOR[room(one)] >= FLOOR[room(other)]
    ]
    assert not upwards


def test_no_circle_of_imports():
    below = defaultdict(set)
    for one, other in arrows():
        below[one].add(other)
    left = dict(MODULES)
    while free := [module for module in left if not below[module] & left.keys()]:
        for module in free:
            del left[module]
    assert not left, "these files import one another, or files that do"


def test_at_most_six_files_lie_at_the_top_beside_the_commands():
    assert len({path.stem for path in ROOT.glob("*.py")} - {*COMMANDS}) <= 6


def test_a_public_name_means_one_thing():
    where = defaultdict(list)
    for module, path in MODULES.items():
        if room(module) in FAMILIES:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [node.name] if isinstance(node, (ast.FunctionDef, ast.ClassDef)) else []
            if isinstance(node, ast.Assign):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                names = [node.target.id]
            for name in names:
                if not name.startswith("_") and name not in CONVENTIONAL | OF_PYTHON:
                    where[name].append(module)
    assert {name: found for name, found in where.items() if len(found) > 1} == {}


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_families_import_neither_frameworks_nor_one_another(family):
    for path in (ROOT / family).glob("*.py"):
        for name in imports(path, everywhere=False):
            top, _, rest = name.partition(".")
            allowed = family in ROOMS_OF_LIGHTNING and top == "pytorch_lightning"
            assert top not in FRAMEWORKS or allowed, f"{path}: {family} is plain Python, without {top}"
            other = rest.partition(".")[0]
            contract = name == f"disvae.{other}"  # a family's __init__ holds its contract, for annotations
            contract |= family == "objective" and name in OF_A_BATCH
            assert top != "disvae" or other not in FAMILIES - {family} or contract, (
                f"{path} imports {name}: take it as a constructor argument and name it in the YAML"
            )


@pytest.mark.parametrize(
    "entry",
    [
        "train", "evaluate", "score", "status", "compare", "explore", "config", "system.instantiate", "system.command",
        "system.help", "system.signals", "runs.settings", "runs.folder", "runs.identity", "runs.provenance",
        "evaluation.settings", "training.job", "training.run_job", "encode", "export", "api.scoring", "api.tables",
        "api.trained", "api.training",
    ],
)  # fmt: skip
def test_the_command_line_imports_torch_only_to_compute(entry):
    """So --help, --cfg and configuration errors need not wait for torch."""
    seen, frontier = set(), {f"disvae.{entry}"}
    while frontier:
        seen |= frontier
        found = set().union(*(imports(MODULES[module], everywhere=False) for module in frontier))
        assert not {"torch", "pytorch_lightning", "matplotlib"} & {name.partition(".")[0] for name in found}
        frontier = (found & MODULES.keys()) - seen


def test_the_module_knows_no_objective_by_name():
    source = MODULES["disvae.training.module"].read_text(encoding="utf-8")
    assert "isinstance" not in source
    for path in (ROOT / "objective").glob("[!_]*.py"):
        assert f"objective.{path.stem}" not in source


def test_module_and_objectives_can_be_read_without_knowing_of_packs_and_graphs():
    for module in ("disvae.training.module", *(name for name in MODULES if room(name) == "objective")):
        for name in imports(MODULES[module], everywhere=True):
            assert not name.startswith(("disvae.training.packed", "disvae.training.cuda_graph"))


def test_every_option_is_a_file_of_the_same_name():
    conf = ROOT.parent / "conf"
    for path in conf.glob("*/*.yaml"):
        for line in path.read_text(encoding="utf-8").splitlines():
            key, _, target = line.strip().partition(": ")
            if key == "_target_" and line.startswith(("_target_", "  _target_")) and path.parent.name in FAMILIES:
                module = target.rpartition(".")[0]
                assert module.startswith(f"disvae.{path.parent.name}."), f"{path}: {target}"


def test_tests_mirror_the_package():
    """A test file of a room has the name of what it tests, or lies in the folder of the room that it tests."""
    rooms = {path.parent.relative_to(ROOT) for path in MODULES.values()}
    tests = Path(__file__).parent
    extra = {Path("golden")}
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert folders <= rooms | extra
