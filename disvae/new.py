"""Write the files of a new option: Python, YAML and a test, which work at once and are yours to change.

    python -m disvae.new objective my_objective
    python -m disvae.new objective my_objective package=mypackage

The new option is a copy of a small one. Without package=, it is written into the source tree of disvae. With package=,
it is written into a package of your own, which is made in this folder if it does not exist; plugins=[mypackage] then
makes its options known to every command. No file is overwritten. The exit status is 2 for a wrong argument.
"""

import keyword
import re
import shlex
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from omegaconf import OmegaConf

from disvae.config import LISTS, ConfigError, conf_dir, option_files, package_folder, targets
from disvae.runs.atomic import write_atomically
from disvae.system.command import command

EXAMPLES = {
    "callbacks": "lr_monitor",
    "dataset": "clusters",
    "divergence": "kl_exclusive",
    "figure": "correlation",
    "likelihood": "laplace",
    "logger": "csv",
    "metric": "active_units",
    "model": "mlp",
    "objective": "beta_vae",
    "optimizer": "adagrad",
    "posterior": "laplace",
    "prior": "laplace",
    "schedule": "linear",
    "scheduler": "step",
}
"""The option that is copied, for each family of options."""

OVERRIDES = {
    "divergence": ["objective=decomposition", "alpha=1", "divergence={name}"],
    "figure": ["figure=[{name}]", "final_figures=[{name}]"],
    "metric": ["metric=[{name}]", "final=[{name}]"],
    "schedule": ["schedule@schedule.beta={name}"],
}
"""What to type to use the option, where it is not FAMILY=NAME or FAMILY=[NAME]."""

EVIDENCE = {
    "figure": '(run / "figures/{name}.png").is_file()',
    "metric": '"metric/{name}/" in (run / "metrics.json").read_text()',
}
"""What a test of the option finds after a run, where it is not the ELBO."""

TEST = '''"""The option {name} of {family} trains a run; add a limit, an identity or a known answer."""

import sys
from pathlib import Path

import pytest

from disvae.train import main

SETTINGS = {settings}


def test_{name}_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
{allow}    monkeypatch.setattr(sys, "argv", ["disvae-train", *SETTINGS, f"out={{tmp_path}}"])
    main()
    run = next(tmp_path.rglob("metrics.json")).parent
    assert {evidence}
'''

TINY = ["steps=2", "eval_every=2", "eval_images=100", "eval_samples=50", "score.controls=[]", "report=false"]
"""Settings of a run that takes a second."""

PROJECT = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{package}"
version = "0.1.0"
dependencies = ["disvae"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.pytest.ini_options]
pythonpath = ["."]

[tool.ruff]
line-length = 120

[tool.ruff.lint.isort]
known-first-party = ["disvae", "{package}"]
"""


def new(arguments: Sequence[str]) -> None:
    """Write the files of the new option in the arguments, and print their paths and how to use them.

    Raises:
        ConfigError: an argument is wrong, or a file exists already.
    """
    words = [argument for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    if len(words) != 2 or words[0] not in EXAMPLES or options.keys() - {"package"}:
        raise ConfigError(
            f"type python -m disvae.new FAMILY NAME [package=PACKAGE] with one of the families {', '.join(EXAMPLES)}; "
            f"got {shlex.join(arguments) or 'nothing'}"
        )
    family, name = words
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ConfigError(f"the name must be of small letters, digits and underscores, got {name!r}")
    if name in option_files(family):
        raise ConfigError(f"{family}={name} exists already: {option_files(family)[name]}")
    package = options.get("package", "disvae")
    code, conf, tests = _folders(package)
    python, yaml = _copies(family, name, package)
    test = tests / family / f"test_{family}_{name}.py"
    files = {
        code / family / f"{name}.py": python,
        conf / family / f"{name}.yaml": yaml,
        test: _test(family, name, package),
    }
    for path in files:
        if path.exists():
            raise ConfigError(f"{path} exists already: choose another name, or delete it")
    if not code.exists():
        files[code.parent / "pyproject.toml"] = PROJECT.format(package=package)
    files[code / "__init__.py"] = f'"""Options for disvae: type plugins=[{package}]."""\n'
    files[code / family / "__init__.py"] = f'"""Options of the family {family}."""\n'
    for path, text in files.items():
        if not path.exists():  # a package may have some of them
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, text)
            print(f"Written: {path}")
    typed = ([f"plugins=[{package}]"] if package != "disvae" else []) + _chosen(family, name)
    print(f"Train:   python -m disvae.train {shlex.join(typed)}")
    print(f"Test:    python -m pytest {test}")


def _folders(package: str) -> tuple[Path, Path, Path]:
    """Return the folders of the code, the YAML files and the tests of a package, which need not exist.

    Raises:
        ConfigError: the package is not a name, is somebody else's, or is an installed disvae.
    """
    if package == "disvae":
        root = conf_dir().parent
        if root == Path(__file__).parent:
            raise ConfigError("disvae is installed, not a source tree: type package=mypackage to make one of your own")
        return root / "disvae", root / "conf", root / "tests"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package) or keyword.iskeyword(package):
        raise ConfigError(f"package must be of small letters, digits and underscores, got {package!r}")
    folder = Path(package) if Path(package).is_dir() else package_folder(package) or Path(package)
    if (not folder.is_dir() and find_spec(package)) or (folder.is_absolute() and not (folder / "conf").is_dir()):
        raise ConfigError(f"package={package} is no plugin but a package of others: choose another name")
    return folder, folder / "conf", folder.parent / "tests"


def _chosen(family: str, name: str) -> list[str]:
    """Return the overrides that choose an option."""
    usual = [f"{family}=[{{name}}]" if family in LISTS else f"{family}={{name}}"]
    return [override.format(name=name) for override in OVERRIDES.get(family, usual)]


def _copies(family: str, name: str, package: str) -> tuple[str, str]:
    """Return the Python file and the YAML file of the family's example under the new name."""
    example = EXAMPLES[family]
    yaml = option_files(family)[example].read_text(encoding="utf-8")
    target = next(targets(OmegaConf.to_container(OmegaConf.create(yaml), resolve=False)))
    module, _, old = target.rpartition(".")
    own = name if old.islower() else "".join(word.capitalize() for word in name.split("_"))
    python = (Path(__file__).parent / family / f"{module.rpartition('.')[2]}.py").read_text(encoding="utf-8")
    python = re.sub(rf"^(class|def) {old}\b", rf"\1 {own}", python, flags=re.MULTILINE)
    yaml = yaml.replace(target, f"{package}.{family}.{name}.{own}")
    yaml = yaml.replace(f"# @package {family}.{example}", f"# @package {family}.{name}")
    title = name.replace("_", " ").capitalize()
    yaml = re.sub(r"^# (?!@).*", f"# {title}: say here what it does; a copy of {example}", yaml, count=1, flags=re.M)
    return python, yaml


def _test(family: str, name: str, package: str) -> str:
    """Return a test that trains with the option."""
    settings = ([] if family == "dataset" else ["dataset=clusters"]) + _chosen(family, name) + TINY
    typed = [setting.partition("=")[0] for setting in settings]
    settings += [f"{key}=[]" for key in ("metric", "final", "figure", "final_figures") if key not in typed]
    return TEST.format(
        name=name,
        family=family,
        settings="[\n" + "".join(f'    "{setting}",\n' for setting in settings) + "]",
        allow="" if package == "disvae" else f'    monkeypatch.setenv("DISVAE_PLUGINS", "{package}")\n',
        evidence=EVIDENCE.get(family, '"val/elbo" in (run / "metrics.json").read_text()').format(name=name),
    )


def main() -> None:
    """Run the command line that writes new options."""
    command(lambda: __doc__ or "", new, kept="written")


if __name__ == "__main__":
    main()
