"""The files of a new option work before anything in them is changed."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import disvae.new
from disvae.config import ConfigError, groups
from disvae.new import EXAMPLES, new


@pytest.fixture(autouse=True)
def _outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def test_every_family_has_an_example():
    assert set(EXAMPLES) == set(groups()) - {"hydra", "trainer", "experiment", "hparams_search", "debug"}


def test_the_files_of_every_family_pass_the_linter():
    for family in EXAMPLES:
        new([family, "my_own", "package=fresh"])
    assert len(list(Path().rglob("*.py"))) == 1 + 3 * len(EXAMPLES)
    for arguments in (["check"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *arguments, "."], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("family", ["objective", "metric", "figure"])
def test_the_written_test_passes(family, tmp_path, monkeypatch, capsys):
    package = f"with_{family}"
    new([family, "my_own", f"package={package}"])
    said = capsys.readouterr().out
    assert f"Test:    python -m pytest tests/{family}/test_{family}_my_own.py" in said
    assert f"'plugins=[{package}]'" in said
    runpy.run_path(f"tests/{family}/test_{family}_my_own.py")["test_my_own_trains"](tmp_path / "out", monkeypatch)


def test_without_a_package_the_files_lie_in_the_source_tree(tmp_path, monkeypatch, capsys):
    real = disvae.new.conf_dir()
    monkeypatch.setattr(disvae.new, "conf_dir", lambda: tmp_path / "conf")
    (tmp_path / "disvae").mkdir()
    new(["prior", "my_prior"])
    assert "_target_: disvae.prior.my_prior.MyPrior" in (tmp_path / "conf/prior/my_prior.yaml").read_text()
    assert "class MyPrior(Prior)" in (tmp_path / "disvae/prior/my_prior.py").read_text()
    assert "PLUGINS" not in (tmp_path / "tests/prior/test_prior_my_prior.py").read_text()
    assert "python -m disvae.train prior=my_prior\n" in capsys.readouterr().out
    monkeypatch.setattr(disvae.new, "conf_dir", lambda: Path(disvae.new.__file__).parent / "conf")
    with pytest.raises(ConfigError, match="is installed, not a source tree: type package=mypackage"):
        new(["prior", "my_prior"])
    assert real.is_dir()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "type python -m disvae.new FAMILY NAME"),
        (["prior"], "type python -m disvae.new FAMILY NAME"),
        (["priors", "x"], "with one of the families callbacks, dataset"),
        (["prior", "x", "plugin=y"], "type python -m disvae.new FAMILY NAME"),
        (["prior", "My-Prior"], "the name must be of small letters, digits and underscores, got 'My-Prior'"),
        (["prior", "class"], "the name must be of small letters"),
        (["prior", "../x"], "the name must be of small letters"),
        (["prior", "laplace"], "prior=laplace exists already"),
        (["prior", "x", "package=../y"], "package must be of small letters, digits and underscores, got '../y'"),
        (["prior", "x", "package=json"], "package=json is no plugin but a package of others"),
        (["prior", "x", "package=random"], "package=random is no plugin but a package of others"),
    ],
)
def test_a_wrong_argument_is_named_and_nothing_is_written(tmp_path, arguments, said):
    with pytest.raises(ConfigError) as error:
        new(arguments)
    assert said in str(error.value)
    assert not list(tmp_path.iterdir())


def test_no_file_is_overwritten(tmp_path):
    new(["prior", "mine", "package=kept"])
    path = tmp_path / "kept" / "prior" / "mine.py"
    path.write_text("my work")
    with pytest.raises(ConfigError, match="exists already"):
        new(["prior", "mine", "package=kept"])
    new(["prior", "other", "package=kept"])
    assert path.read_text() == "my work"
