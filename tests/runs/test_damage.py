"""Damaged, exchanged and edited files of a run: no other number is shown without a word, and other runs are shown.

Damages and wrong contents are drawn by a seed.
"""

import contextlib
import errno
import json
import os
import random
import shutil
import warnings
from dataclasses import replace
from functools import partial, partialmethod
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from disvae.compare import compare_paths
from disvae.comparison.results import collect
from disvae.config import ConfigError, resolved
from disvae.evaluate import evaluate
from disvae.evaluation.compute import MODEL
from disvae.evaluation.run_encodings import sources_of
from disvae.explore import explore
from disvae.runs.curves import curves
from disvae.runs.digests import NAME, write_recorded
from disvae.runs.folder import Run, digest
from disvae.status import status
from disvae.sweep.record import Sweep, SweepJob
from disvae.training.job import Job
from disvae.training.loop import train_run
from tests.runs.killed import Changes, Killed

ROUNDS = int(os.environ.get("DISVAE_TEST_DAMAGES", "20"))
"""Number of damages and of wrong contents; type DISVAE_TEST_DAMAGES=300 for a thorough search."""

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pristine(composed, tmp_path_factory):
    """Two runs of two seeds with scores, and the record of their sweep."""
    out = tmp_path_factory.mktemp("pristine")
    sweep = Sweep.find(out, "seed=0,1", ["seed=0,1"], "python -m disvae.train -m seed=0,1", "now")
    small = ("dataset=clusters", "model.encoder_hidden=[4]", "model.decoder_hidden=[4]", "steps=4", "eval_every=2")
    for seed in (0, 1):
        config = resolved(composed(*small, "eval_images=100", "final=[sparsity]", "metric=[]", f"seed={seed}"))
        run = Run(out / "clusters" / f"seed={seed}-{digest(config)}")
        train_run(Job(run, config, brief=True))
        sweep.jobs.append(SweepJob([f"seed={seed}"], f"clusters/{run.path.name}"))
    sweep.write()
    return out


def rows(out: Path) -> dict:
    return {row.path.relative_to(out): replace(row, path=None) for row in collect([out]) if row.path}


def seen(run: Run) -> dict:
    """Every number that is read from a run's files apart from its row."""
    found = {f"curves {tag} {step}": value for tag, curve in _curves(run.path).items()
             for step, value in zip(curve.steps.tolist(), curve.values.tolist(), strict=True)}  # fmt: skip
    settings = {
        "images": "validation",
        "codes": "mean",
        "transport": False,
        "controls": ["pca"],
        "repeats": 2,
        "seed": 0,
    }
    sources, protocol, _ = sources_of(run, settings, False, None, CPU)
    return found | {"codes": sources[MODEL][0].codes, "pca": sources["pca"][0].codes, "step": protocol["step"]}


def _curves(path: Path) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorBoard's, of a damaged record
        return curves(path)


def agree(one: dict, other: dict) -> bool:
    """Whether there are no other numbers; curves may end early."""
    return all(key in other and np.array_equal(value, other[key]) for key, value in one.items())


def damage(path: Path, rng: random.Random, other: Path) -> str:
    """Damage a file or exchange it for another run's; say how."""
    how = rng.choice(["flip", "flip", "digit", "cut", "empty", "random", "longer", "exchanged", "folder", "deleted"])
    content = bytearray(path.read_bytes())
    if how == "flip":
        content[rng.randrange(len(content))] ^= rng.randrange(1, 256)
    elif how == "digit":
        places = [i for i, byte in enumerate(content) if chr(byte).isdigit()]
        if places:
            content[place] = rng.choice([d for d in b"0123456789" if d != content[place := rng.choice(places)]])
    elif how == "cut":
        del content[rng.randrange(len(content)) :]
    elif how == "random":
        content = bytearray(rng.randbytes(rng.randrange(1, 2000)))
    elif how == "longer":
        content += rng.randbytes(rng.randrange(1, 200))
    elif how == "exchanged":
        content = bytearray(other.read_bytes() if other.is_file() else b"{}")
    path.unlink()
    if how == "folder":
        path.mkdir()
    elif how != "deleted":
        path.write_bytes(b"" if how == "empty" else content)
    return how


def judged(pristine: Path, out: Path, victim: Path, before: dict) -> str:
    """Read the damaged copy in every way: what is said of the victim, or a failed assertion."""
    expected, found = rows(pristine), rows(out)
    for place, row in expected.items():
        if place != victim:
            assert found[place] == row
    row = found[victim]
    said = row.error
    if said:
        assert (row.state, "\n" in said) == ("failed", False)
        assert str(out) in said
    elif row != expected[victim]:  # a file that is not there is no other number
        assert row.settings.items() <= expected[victim].settings.items()
        assert row.metrics.items() <= expected[victim].metrics.items()
        assert row.intervals.items() <= expected[victim].intervals.items()
    found, refusal = attempted(seen, Run(out / victim))
    assert agree(found or {}, before)
    return said or refusal


def attempted(read, run: Run):
    """What `read` finds, and its refusal in one line."""
    try:
        return read(run), ""
    except ConfigError as error:
        said = str(error)
    assert "\n" not in said
    return None, said


@pytest.fixture(scope="module")
def before(pristine) -> dict:
    return {place: seen(Run(pristine / place)) for place in rows(pristine)}


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_damage_is_named_and_changes_no_number(pristine, before, tmp_path, seed, capsys):
    rng = random.Random(seed)
    out = tmp_path / "out"
    shutil.copytree(pristine, out)
    victim, other = rng.sample(sorted(before), 2)
    file = rng.choice(sorted(path.name for path in (out / victim).iterdir() if path.name != ".lock"))
    damage(out / victim / file, rng, out / other / file)
    judged(pristine, out, victim, before[victim])
    status([str(out)])
    assert "2 runs" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json", "scores.json", "status.json", "last.ckpt"])
def test_a_file_of_another_run_is_no_longer_believed(pristine, before, tmp_path, name):
    shutil.copytree(pristine, tmp_path / "out")
    victim, other = sorted(before)
    shutil.copy(pristine / other / name, tmp_path / "out" / victim / name)
    said = judged(pristine, tmp_path / "out", victim, before[victim])
    expected = f"{tmp_path / 'out' / victim / name} is not what was written (damaged?): "
    assert said.startswith(expected) or name == "status.json"  # both are finished at step 4


def test_digests_that_are_none_are_damaged(tmp_path):
    (tmp_path / NAME).write_text('{"metrics.json": ["0", ["1"]]}')
    with pytest.raises(ConfigError, match=r"digests\.json is damaged \(metrics\.json\[1\] must be a text, got"):
        write_recorded(tmp_path / "metrics.json", "{}")


@pytest.mark.parametrize("change", [{"seed": 7}, {"steps": 8}])
def test_an_edited_configuration_is_not_that_of_the_folder(pristine, tmp_path, capsys, change):
    out = shutil.copytree(pristine, tmp_path / "out")
    run, other = (Run(path) for path in sorted((out / "clusters").glob("seed=*")))
    (run.path / NAME).unlink()
    (run.path / "config.yaml").write_text(yaml.safe_dump(run.config() | change))
    said = rf"config.yaml is not that of {run.path.name}: its hash is \w{{8}}; repeat the run with force=true$"
    for command in (evaluate, explore):
        with pytest.raises(ConfigError, match=said):
            command([str(run.path)])
    with pytest.raises(ConfigError, match="1 of 2 runs could not be scored"):
        evaluate([str(run.path), str(other.path), "metric=[sparsity]", "score.controls=[]"])
    compare_paths([str(out), "report=none"])
    status([str(out)])
    assert f"{run.path.name}/config.yaml is not that of" in capsys.readouterr().out.replace("\n", "")
    assert other.path.name in (out / "results.csv").read_text()


WRONG = [None, True, -5, 10**6, 10**400, 0.5, float("nan"), "", "abc", [], {}, [[]], {"_target_": "os.system"}, "[/x]"]
CONTENTS = {
    "config.yaml": lambda tree: yaml.safe_dump(tree),
    **dict.fromkeys(("status.json", "metrics.json", "scores.json", "provenance.json", "sweep"), json.dumps),
}


def replaced(tree, rng: random.Random):
    """A copy of a tree in which one node at any depth is another."""
    children = (
        list(tree.items() if isinstance(tree, dict) else enumerate(tree)) if isinstance(tree, dict | list) else []
    )
    if not children or rng.random() < 0.15:
        return rng.choice(WRONG)
    chosen, child = rng.choice(children)
    new = tree.copy()
    if rng.random() < 0.1:
        del new[chosen]
    else:
        new[chosen] = replaced(child, rng)
    return new


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_wrong_content_is_one_line_and_hides_no_other_run(pristine, before, tmp_path, seed, capsys):
    """Even where no digest tells, as in folders of earlier versions."""
    rng = random.Random(seed)
    out = tmp_path / "out"
    shutil.copytree(pristine, out)
    victim, other = rng.sample(sorted(before), 2)
    name = rng.choice(sorted(CONTENTS))
    path = out / victim / name if name != "sweep" else next((out / "sweeps").glob("*.json"))
    tree = yaml.safe_load(path.read_text())
    tree.pop("digest", None)
    (out / victim / NAME).unlink()
    path.write_text(CONTENTS[name](replaced(tree, rng)))
    shown = rows(out)
    assert shown[other] == rows(pristine)[other]
    assert victim in shown
    if name == "config.yaml" and not shown[victim].error:  # what was changed decides no number
        assert digest(Run(out / victim).config()) == victim.name[-8:]
    status([str(out)])
    compare_paths([str(out), "report=none"])
    assert str(other.name) in (out / "results.csv").read_text()
    for read in (Run.provenance, seen):
        attempted(read, Run(out / victim))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.yaml", "[" * 100_000 + "]" * 100_000),
        ("config.yaml", "a: &a [x, x]\n" + "".join(f"b{i}: [*a, *a]\n" for i in range(9))),
        ("config.yaml", "seed: 2020-01-01\n"),
        ("scores.json", "[" * 100_000 + "]" * 100_000),
        ("status.json", '{"state": "finished", "step": "abc"}'),
        ("metrics.json", '{"val/elbo": {}}'),
        ("provenance.json", '{"sessions": 5}'),
        ("metrics.json", b"\xff\xfe{}"),
    ],
)
def test_content_that_would_overthrow_a_parser_is_refused(tmp_path, name, content):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    read = {
        "config.yaml": Run.config,
        "scores.json": Run.scores,
        "status.json": Run.status,
        "metrics.json": Run.metrics,
    }
    with pytest.raises(ConfigError, match=rf"{name} is not readable \(.*\): [^\n]*$"):
        read.get(name, Run.provenance)(Run(tmp_path))


def test_a_kill_at_any_moment_leaves_a_file_that_its_digest_knows(tmp_path, monkeypatch):
    changes = Changes()

    run = Run(tmp_path)
    for kill in range(8):
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
        run.save_metrics({"val/elbo": -1.0})
        for value in (-2.0, -3.0):  # the second one begins where the first was killed
            changes.left = kill
            with monkeypatch.context() as patch:
                patch.setattr(Path, "replace", changes.limited(Path.replace))
                patch.setattr(Path, "write_bytes", changes.limited(Path.write_bytes))
                with contextlib.suppress(Killed):
                    run.save_metrics({"val/elbo": value})
            assert run.metrics()["val/elbo"] in (-1.0, -2.0, -3.0)
    assert run.metrics() == {"val/elbo": -3.0}
    write_recorded(tmp_path / "other.json", "{}")
    (tmp_path / "metrics.json").write_text('{"val/elbo": -1.0}')
    with pytest.raises(ConfigError, match=r"metrics\.json is not what was written \(damaged\?\): delete it"):
        run.metrics()


def test_a_run_of_another_user_is_named_and_hides_no_other(pristine, tmp_path, monkeypatch, capsys):
    out = shutil.copytree(pristine, tmp_path / "out")
    run, other = (Run(path) for path in sorted((out / "clusters").glob("seed=*")))

    def denied(asked, path):
        if path.parent == run.path:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return asked(path)

    for name in ("exists", "is_file", "read_bytes"):
        monkeypatch.setattr(Path, name, partialmethod(partial(denied, getattr(Path, name))))
    with pytest.raises(ConfigError, match="1 of 2 runs could not be scored or drawn"):
        evaluate([str(run.path), str(other.path), "metric=[sparsity]", "score.controls=[]"])
    assert f"{run.path} cannot be read (Permission denied): ask its owner\n" in capsys.readouterr().err
    for place in (out, next((out / "sweeps").glob("*.json"))):
        compare_paths([str(place), f"report={tmp_path / 'report.html'}", f"csv={tmp_path / 'all.csv'}"])
        status([str(place)])
        said = capsys.readouterr().out.replace("\n", "")
        assert f"{run.path / 'status.json'} cannot be read (Permission denied): ask its owner" in said
        assert "2 runs: 1 finished, 1 failed" in said
        assert other.path.name in (tmp_path / "all.csv").read_text()
        assert other.path.name in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_folder_name_that_is_not_utf8_is_a_row(pristine, tmp_path, capsys):
    shutil.copytree(pristine, tmp_path / "out")
    run = next((tmp_path / "out" / "clusters").iterdir())
    run.rename(run.with_name("beta=\udcff"))
    compare_paths([str(tmp_path / "out"), "report=none"])
    assert "beta=?" in (tmp_path / "out" / "results.csv").read_text()
