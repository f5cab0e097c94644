"""Options of a package outside the repository do all that disvae's own do, where the user allows the package."""

import importlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from disvae.compare import compare_paths
from disvae.config import PLUGINS, ConfigError, options, packages, resolved
from disvae.evaluate import evaluate
from disvae.explore import explore
from disvae.new import EXAMPLES, new
from disvae.report import report
from disvae.runs.folder import Run, digest
from disvae.status import status
from disvae.sweep.packing import kind, most
from disvae.system.help import help_text, score_help
from disvae.system.instantiate import make
from disvae.system.plugins import allow_plugins
from disvae.train import main
from disvae.training.job import Job
from disvae.training.job_group import train_jobs

LISTED = ("metric", "figure", "callbacks", "logger")
OWN = [
    *(f"{family}=own" for family in EXAMPLES if family not in (*LISTED, "schedule", "divergence")),
    *(f"{family}=[own]" for family in LISTED),
    "schedule@schedule.beta=own",
]
"""Overrides that choose an option of the plugin in every family but the divergence, which needs another objective."""

QUICK = ("steps=4", "eval_every=2", "eval_images=100", "eval_samples=50", "score.controls=[]")
AT_END = ("final=[own]", "final_figures=[own]")


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the package `plug`, which has an option `own` of every family; nothing allows it yet."""
    folder = tmp_path_factory.mktemp("outside")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.delenv(PLUGINS, raising=False)
        for family in EXAMPLES:
            new([family, "own", "package=plug"])
        yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "plug"]:
        del sys.modules[name]


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "")  # a test may allow plugins for its process


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PLUGINS, "plug")


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    """The folder of a run by the command, with an option of the plugin in every family."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PLUGINS, "")
        patch.setattr(sys, "argv", ["disvae-train", "plugins=[plug]", *OWN, *QUICK, *AT_END])
        main()
    [run] = (folder / "outputs" / "own").glob("[!.]*")
    return run


def test_a_run_has_an_option_of_its_own_in_every_family(trained):
    run = Run(trained)
    config = run.config()
    assert config["plugins"] == ["plug"]
    for family in set(EXAMPLES) - {"schedule", "divergence"}:
        node = config[family]["own"] if family in LISTED else config[family]
        assert node["_target_"].startswith(f"plug.{family}.own."), family
    assert config["objective"]["beta"]["_target_"] == "plug.schedule.own.Own"
    assert run.finished()
    assert "metric/own/count" in run.metrics()
    assert (run.figures / "own.png").is_file()
    assert next(trained.glob("csv/*/metrics.csv")).is_file()
    assert "plugin plug" in run.provenance()["sessions"][0]
    assert "Own: say here what it does" in run.report.read_text()  # the caption of the figure


def test_a_run_is_scored_drawn_reported_and_compared_again(trained, allowed, tmp_path):
    folder = Path(shutil.copytree(trained, tmp_path / "runs" / "run"))
    evaluate([str(folder), "metric=[own]", "metric.own.threshold=0.5", "figure=[own]", "figure.own.most=1"])
    assert "metric/own-threshold0.5/count" in Run(folder).metrics()
    assert (folder / "figures" / "own-most1.png").is_file()
    report([str(folder)])
    compare_paths([str(folder.parent), "metric=[own]"])
    assert "own/count" in (folder.parent / "report.html").read_text()
    with pytest.raises(ConfigError, match="no page to explore: the data must be pictures"):
        explore([str(folder)])


@pytest.mark.parametrize("command", [evaluate, explore, report, compare_paths])
def test_a_run_of_a_plugin_that_is_not_allowed_here_is_refused_by_name(trained, command, monkeypatch):
    monkeypatch.setenv(PLUGINS, "others")
    forget()
    with pytest.raises(ConfigError, match=r"uses the plugin 'plug', which is not allowed here: .* plugins=\[plug\]"):
        command([str(trained)])
    assert "plug" not in sys.modules
    status([str(trained)])  # which needs no code


@pytest.mark.parametrize("named", [None, [], ["os"], "plug", {"plug": 1}, [["plug"]]])
def test_a_run_folder_allows_nothing(trained, tmp_path, named):
    forget()
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump({**tree, "plugins": named}))
    for name in ("encoding.h5", "digests.json"):
        (folder / name).unlink()
    for command in (evaluate, explore):
        with pytest.raises(ConfigError, match=r"not allowed here|is not an allowed plugin"):
            command([str(folder)])
    assert "plug" not in sys.modules


@pytest.mark.parametrize(
    "target",
    [
        "shutil.copyfile",
        "foreign.prior.x.Prior",
        "plugged.prior.x.Prior",
        "plug.Prior",
        "plug.posterior.own.Own",
        "plug.prior.own.torch",
        "plug.prior.own.Prior",
        "plug.prior.own.Own.__init__",
        "plug.prior..own.Own",
        "disvae.plug.prior.own.Own",
    ],
)
def test_a_plugin_opens_its_own_folders_only(folder, allowed, target):
    for name in ("foreign", "plugged"):
        (folder / name / "prior").mkdir(parents=True, exist_ok=True)
        (folder / name / "prior" / "x.py").write_text("class Prior: pass\n")
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"must be a class or function of disvae\.prior or plug\.prior, got"):
        make({"_target_": target, "scale": 1.0}, "prior", z_dim=2)
    assert not {"foreign", "plugged"} & sys.modules.keys()
    assert make({"_target_": "plug.prior.own.Own", "scale": 1.0}, "prior", z_dim=2).z_dim == 2


def test_a_payload_in_any_place_of_a_plugins_node_is_refused_and_never_runs(trained, allowed, tmp_path):
    (tmp_path / "source").touch()
    payload = {"_target_": "shutil.copyfile", "src": str(tmp_path / "source"), "dst": str(tmp_path / "written")}
    config = Run(trained).config()
    for family in ("prior", "posterior", "likelihood", "dataset", "objective", "optimizer", "model"):
        node = config[family]
        bad = [{**node, **payload}, {**node, "_args_": [payload]}, {**node, "x": payload}]
        bad += [{**node, key: value} for key in node for value in (payload, [payload], {"y": payload})]
        for each in bad:
            with pytest.raises(ConfigError, match=r"is not a setting of|must be|is a schedule, not"):
                make(each, family)
    assert not (tmp_path / "written").exists()


def test_plugins_that_a_run_does_not_use_leave_its_hash_alone(composed, monkeypatch):
    before = digest(resolved(composed()))
    monkeypatch.setenv(PLUGINS, "plug")
    config = resolved(composed("plugins=[plug]"))
    assert "plugins" not in config
    assert digest(config) == before
    config = resolved(composed("prior=own"))
    assert config["plugins"] == ["plug"]
    assert digest(config) == digest({**config, "plugins": []}) != before


def test_help_and_lists_see_the_options_of_plugins(allowed, composed):
    for text in (help_text("train"), score_help("", figures=True)):
        assert text.count("Own: say here what it does; a copy of") == (2 if text.startswith("\n") else len(EXAMPLES))
    assert set(resolved(composed("metric=[own,mig]"))["metric"]) == {"own", "mig"}
    assert "own" in options("metric")  # those of final=all


def test_an_experiment_names_its_plugins(folder, allowed, composed):
    path = folder / "plug" / "conf" / "experiment" / "figure_1.yaml"
    path.parent.mkdir(exist_ok=True)
    (folder / "second" / "conf").mkdir(parents=True, exist_ok=True)
    (folder / "second" / "__init__.py").touch()
    path.write_text("# @package _global_\nplugins: [second]\ndefaults:\n  - override /prior: own\n")
    assert allow_plugins(["+experiment=figure_1", "seed=1"]) == ["+experiment=figure_1", "seed=1"]
    assert packages() == ("disvae", "plug", "second")
    assert composed("experiment=figure_1").prior._target_ == "plug.prior.own.Own"


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("plugins=[nowhere]", "no such package is found for 'nowhere': install it, or add the folder"),
        ("plugins=[json]", "no such package is found for 'json'"),
        ("plugins=[../plug]", "no such package is found for '../plug'"),
        ("plugins=[disvae]", "no such package is found for 'disvae'"),
        ("plugins=[plug,same]", "plugin same has prior/own, and so has plug: rename that of same"),
        ("plugins=[same]", "plugin same has objective/beta_vae, and so has disvae: rename that of same"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named(folder, typed, said):
    for group, name in (("prior", "own"), ("objective", "beta_vae")):
        path = folder / "same" / "conf" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        if group == "prior" or typed == "plugins=[same]":
            path.touch()
    (folder / "same" / "__init__.py").touch()
    with pytest.raises(ConfigError) as error:
        allow_plugins([typed])
    assert said in str(error.value)
    assert os.environ[PLUGINS] == ""


def test_runs_of_own_options_are_packed(allowed, composed, tmp_path):
    own = ("dataset=own", "model=own", "prior=own", "objective=decomposition", "alpha=1", "divergence=own")
    overrides = (*own, "schedule@schedule.beta=own", *QUICK, "final=[]", "metric=[]")
    jobs = [
        Job(Run(tmp_path / f"{seed}"), resolved(composed(*overrides, f"seed={seed}", f"beta={seed + 1}")), brief=True)
        for seed in (0, 1)
    ]
    assert most("auto", False, "own", "decomposition") > 1  # the YAML of the model says packs_on_cpu
    assert kind(jobs[0]) == kind(jobs[1])
    outcomes = {}
    train_jobs(jobs, lambda i: None, outcomes.__setitem__)
    assert outcomes == {0: True, 1: True}


@pytest.mark.slow
def test_a_sweep_carries_the_plugin_to_its_processes(folder, tmp_path):
    own = ("dataset=own", "objective=own", "prior=own", "metric=[own]", *QUICK, *AT_END, "report=false")
    done = subprocess.run(
        [sys.executable, "-m", "disvae.train", "-m", "plugins=[plug]", *own, "seed=0,1", f"out={tmp_path}"],
        cwd=folder, env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[2], folder)))},
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(path.read_text()) for path in tmp_path.rglob("metrics.json")]
    assert len(found) == 2
    assert all("metric/own/count" in metrics for metrics in found)
