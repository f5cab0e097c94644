"""The command works from the source tree, from an editable install and from a wheel, in a folder of its own."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: str, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    return next(out.glob("*.whl"))


def install(what: Path, tmp_path: Path, *options: str) -> str:
    """A virtual environment that borrows this one's dependencies and has only disvae of its own."""
    folder = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=tmp_path)
    borrowed = "\n".join(path for path in sys.path if path.endswith("site-packages"))
    site = next((folder / "lib").glob("python3*/site-packages"))
    (site / "borrowed.pth").write_text(borrowed + "\n")
    python = str(folder / "bin" / "python")
    pip = (sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, *options, str(what), cwd=tmp_path)
    return python


def test_the_wheel_and_the_source_archive_carry_every_template(wheel, tmp_path):
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path), str(ROOT), cwd=tmp_path)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        source = {name.partition("/")[2] for name in file.getnames() if name.endswith(".jinja")}
    templates = {path.relative_to(ROOT).as_posix() for path in (ROOT / "disvae").rglob("*.jinja")}
    assert {"disvae/pictures/run_page.html.jinja", "disvae/explorer/page.html.jinja"} <= templates
    assert {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".jinja")} == templates == source


def test_the_wheel_carries_every_option(wheel):
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("disvae/conf/")}
    assert packed == {f"disvae/{path.relative_to(ROOT)}" for path in (ROOT / "conf").rglob("*.yaml")}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wheel", "editable"])
def test_an_installed_package_composes_the_same_configuration_elsewhere(wheel, tmp_path, how):
    python = install(wheel, tmp_path) if how == "wheel" else install(ROOT, tmp_path, "--editable")
    where = run(python, "-c", "import disvae.config as c; print(c.conf_dir())", cwd=tmp_path).strip()
    assert Path(where).is_relative_to(tmp_path if how == "wheel" else ROOT)
    arguments = ("--cfg", "job", "objective=beta_tc", "beta=6", "experiment=mathieu_clusters")
    here = run(sys.executable, "-m", "disvae.train", *arguments, cwd=ROOT)
    assert run(python, "-m", "disvae.train", *arguments, cwd=tmp_path) == here
    script = str(Path(python).with_name("disvae-train"))
    assert run(script, *arguments, cwd=tmp_path) == here
    tiny = ("dataset=clusters", "steps=3", "eval_images=20", "eval_samples=10", "final=[]")
    out = run(script, "-m", *tiny, "seed=0,1", cwd=tmp_path)
    assert "python -m disvae.compare outputs/sweeps/" in out
    assert "2 finished" in run(str(Path(python).with_name("disvae-status")), cwd=tmp_path)
    assert "2 finished in 1 group" in run(str(Path(python).with_name("disvae-compare")), "outputs", cwd=tmp_path)
    assert "<html" in (tmp_path / "outputs" / "report.html").read_text()
    assert "Run folder:" in run(script, *tiny, cwd=tmp_path)
