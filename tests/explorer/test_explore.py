"""python -m disvae.explore: from a run's folder to a page, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import pytest

from disvae.config import ConfigError, resolved
from disvae.explore import explore
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.loop import train_run

SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=8", "dataset.scales=2", "z_dim=3")


def trained(composed, path: Path, *overrides: str) -> Path:
    train_run(Job(Run(path), resolved(composed(*overrides, "steps=2")), brief=True))
    return path


@pytest.fixture(scope="module")
def run(composed, tmp_path_factory) -> Path:
    """A run of a few steps on a small grid of sprites."""
    folder = tmp_path_factory.mktemp("runs") / "beta=4,z_dim=3-0123"
    few = ("eval_images=100", "eval_samples=50", "final=[]", "figure=[]", "final_figures=[]")
    return trained(composed, folder, *SPRITES, *few)


def held(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.partition('id="data">')[2].partition("</script>")[0])


def test_the_page_goes_to_the_run_or_where_it_is_told_to(run, tmp_path, capsys):
    explore([f"run={run}"])
    assert str(run / "explore.html") in capsys.readouterr().out
    found = held(run / "explore.html")
    assert found["about"] == "sprites, beta_vae, beta 4, model conv, 2 steps"
    assert found["shape"] == [1, 64, 64]
    assert sorted(latent["d"] for latent in found["latents"]) == [0, 1, 2]
    assert len(found["samples"]) == 200
    assert "orientation" in found["images"][0]["label"]
    config = (run / "config.yaml").read_text()
    (run / "digests.json").unlink()  # which old runs lack
    (run / "config.yaml").write_text(config.replace("\nbeta: 4\n", "\n"))  # as schedule.beta.value=4 was once stored
    explore([str(run), f"out={tmp_path / 'other.html'}"])
    (run / "config.yaml").write_text(config)
    assert config.count("\nbeta: 4\n") == 1
    assert (tmp_path / "other.html").read_bytes() == (run / "explore.html").read_bytes()


def test_a_run_that_may_only_be_read_is_explored_elsewhere(run, tmp_path, monkeypatch, caplog):
    def read_only(path: Path, *_: Any) -> None:
        raise ConfigError(f"cannot write {path}: Read-only file system")

    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    (run / "encoding.h5").unlink(missing_ok=True)  # its codes are computed again
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr(Run, "lock", lambda run: read_only(run.path))
    monkeypatch.setattr("disvae.evaluation.codes_file.write", read_only)
    explore([str(run), f"out={tmp_path / 'page.html'}"])
    assert len(held(tmp_path / "page.html")["samples"]) == 200
    assert "encodings are not kept" in caplog.text
    with pytest.raises(ConfigError, match="Read-only file system"):
        explore([str(run)])
    for path, content in before.items():
        path.write_bytes(content)


def test_a_place_that_cannot_be_written_is_named(run, tmp_path):
    with pytest.raises(ConfigError, match=r"out=.*nowhere.* must be a file in an existing folder"):
        explore([str(run), f"out={tmp_path / 'nowhere' / 'page.html'}"])


def test_points_are_refused(composed, tiny, tmp_path):
    folder = trained(composed, tmp_path / "run", *tiny, "eval_every=2")
    with pytest.raises(ConfigError, match="must be pictures"):
        explore([str(folder)])
    assert not (folder / "explore.html").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the folder of one run"),
        (["a", "b"], "name the folder of one run"),
        (["a", "latent=3"], "latent=3 is not an option"),
        (["nowhere"], "not the folder of a trained run"),
        (["run=nowhere"], "not the folder of a trained run"),
    ],
)
def test_what_cannot_be_is_said(arguments, said):
    with pytest.raises(ConfigError, match=said):
        explore(arguments)
