"""A configuration is data: whatever a run's folder names, only options of the right family are imported and built."""

import copy
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.utils import instantiate

from disvae.compare import compare_paths
from disvae.config import LISTS, ConfigError, conf_dir, options, resolved
from disvae.evaluate import evaluate
from disvae.explore import explore
from disvae.runs.folder import Run
from disvae.system.instantiate import make, prepared
from disvae.training.job import Job
from disvae.training.loop import train_run

GIVEN: dict[str, dict[str, Any]] = {
    "prior": {"z_dim": 2},
    "posterior": {"z_dim": 2},
    "model": {"x_shape": (1, 64, 64), "z_dim": 2, "encoder_size": 4, "likelihood_size": 1},
    "optimizer": {"params": []},
    "scheduler": {"optimizer": None, "steps": 10, "eval_every": 5},
    "logger": {"folder": Path("run"), "step": 0},
}
"""What the program adds to the nodes of a group."""

FAMILIES = sorted(
    {path.parent.name for path in conf_dir().glob("*/*.yaml")} - {"experiment", "hparams_search", "debug", "trainer"}
)
"""The groups of conf/ whose options name a class or function."""

HYDRAS = ("_args_", "_recursive_", "_partial_", "_convert_", "_mode_", "_x", "x")
"""Hydra's own keys, and two that no constructor has."""

SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=4", "dataset.scales=2", "z_dim=2")
MLP = ("model=mlp", "model.encoder_hidden=[8]", "model.decoder_hidden=[8]")
FEW = ("steps=2", "eval_every=2", "eval_images=20", "eval_samples=10", "batch_size=8", "final=[]")


class Copies:
    """An object whose pickle copies a file when it is loaded."""

    def __init__(self, source: Path, target: Path) -> None:
        self.both = str(source), str(target)

    def __reduce__(self) -> tuple[Any, tuple[str, str]]:
        return shutil.copyfile, self.both


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The file that a payload writes."""
    return tmp_path / "written"


@pytest.fixture
def payloads(tmp_path: Path, written: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Nodes that write the file where they are instantiated, the last one where its module is imported."""
    source, pickled = tmp_path / "source", tmp_path / "notes.pkl"
    source.write_text("a file's content")
    pickled.write_bytes(pickle.dumps(Copies(source, written)))
    (tmp_path / "foreign_code.py").write_text(f"open({str(written)!r}, 'w').close()\nclass Prior: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "foreign_code", raising=False)
    return [
        {"_target_": "shutil.copyfile", "src": str(source), "dst": str(written)},
        {"_target_": "logging.FileHandler", "filename": str(written)},
        {"_target_": "joblib.load", "filename": str(pickled)},
        {"_target_": "foreign_code.Prior"},
    ]


def poisoned(node: Mapping[str, Any], payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The node with the payload in each place: itself, a key more, a setting, lists and mappings in them, parts."""
    yield dict(payload)
    yield {**node, **payload}
    for key in (*HYDRAS, *(key for key in node if key != "_target_")):
        for value in (payload, [payload], [[payload]], {"y": payload}, {"y": {"z": [payload]}}, {"_args_": [payload]}):
            yield {**node, key: value}
        if isinstance(part := node.get(key), Mapping):
            yield from ({**node, key: inner} for inner in poisoned(part, payload))
    for key, flag in (("_partial_", True), ("_recursive_", False), ("_convert_", "all"), ("_mode_", "call")):
        yield {**node, key: flag}


@pytest.fixture
def found(composed: Callable[..., Any]) -> Callable[[str], dict[str, dict[str, Any]]]:
    """The resolved node of each option of a group, by the key under which it is built."""

    def of(group: str) -> dict[str, dict[str, Any]]:
        if group in LISTS:
            tree = resolved(composed(f"{group}=[{','.join(options(group))}]"))
            return {f"{group}.{name}": node for name, node in tree[group].items()}
        deep = ("objective=decomposition", "alpha=1")
        keys = {"schedule": ("schedule@schedule.beta", "beta"), "divergence": ("divergence", "divergence")}
        choice, part = keys.get(group, (group, ""))
        trees = {name: resolved(composed(*(deep if part else ()), f"{choice}={name}")) for name in options(group)}
        return {f"{group}.{name}": tree["objective"][part] if part else tree[group] for name, tree in trees.items()}

    return of


def build(node: Mapping[str, Any], key: str) -> None:
    """Build a node as the program does."""
    group = key.partition(".")[0]
    prepared(node, key, 2) if group == "figure" else make(node, key, **GIVEN.get(group, {}))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_payload_in_any_place_of_any_option_is_refused_and_never_runs(family, found, payloads, written):
    seen = 0
    for key, node in found(family).items():
        for payload in payloads:
            for bad in poisoned(node, payload):
                with pytest.raises(ConfigError, match=r"is not a setting of|must be|is a (schedule|divergence), not"):
                    build(copy.deepcopy(bad), key)
                seen += 1
    assert seen > 150 * len(options(family))
    assert not written.exists()
    assert "foreign_code" not in sys.modules


@pytest.mark.parametrize("number", range(4))
def test_the_payloads_do_run_where_nothing_checks_them(payloads, written, number):
    result = instantiate(payloads[number])
    assert written.exists()
    if number == 1:
        result.close()


@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"dataset", "logger"}))  # which need files, and packages
def test_every_option_itself_is_built(family, found):
    weights = [torch.nn.Parameter(torch.zeros(1))]
    given = {"optimizer": {"params": weights}, "scheduler": {"optimizer": torch.optim.SGD(weights), "steps": 10}}
    for key, node in found(family).items():
        if family != "figure" and key != "model.dcgan":  # which is for other images
            make(node, key, **GIVEN.get(family, {}) | given.get(family, {}))
        elif family == "figure":
            prepared(node, key, 2)


@pytest.mark.parametrize(
    ("key", "path", "said"),
    [
        ("prior", "os.system", "prior._target_ must be a class or function of disvae.prior, got 'os.system'"),
        ("prior", None, "prior._target_ must be a class or function of disvae.prior, got None"),
        ("prior", ["os.system"], "must be a class or function of disvae.prior"),
        ("prior", "disvae.posterior.gaussian.Gaussian", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior.Prior", "must be a class or function of disvae.prior"),  # the contract itself
        ("prior", "disvae.prior.anisotropic.Prior", "must be a class or function of disvae.prior"),  # imported there
        ("prior", "disvae.prior.anisotropic.torch", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior.anisotropic.torch.load", "does not exist"),
        ("prior", "disvae.prior.nothing.Nothing", "does not exist"),
        ("prior", "disvae.prior.laplace.__builtins__", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior.laplace.Laplace.__init__", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior_of_others.x.Prior", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior..laplace.Laplace", "must be a class or function of disvae.prior"),
        ("prior", "disvae.prior.mixture.spread_means", "prior.components is missing: spread_means needs components"),
        ("metric.mig", "disvae.figure.scatter.scatter", "metric.mig._target_ must be a class or function of"),
        ("dataset", "disvae.dataset.sprites.logging", "must be a class or function of disvae.dataset"),
    ],
)
def test_a_target_is_defined_in_the_room_of_its_group(key, path, said):
    with pytest.raises(ConfigError) as error:
        make({"_target_": path}, key, **GIVEN.get(key, {}))
    assert said in str(error.value)


LAPLACE = {"_target_": "disvae.prior.laplace.Laplace"}
BETA_VAE = {"_target_": "disvae.objective.beta_vae.BetaVAE"}
CONSTANT = {"_target_": "disvae.schedule.constant.Constant"}
ADAM = {"_target_": "disvae.optimizer.adam.adam", "lr": 1e-3, "betas": [0.9, 0.999], "eps": 1e-8, "amsgrad": False}


@pytest.mark.parametrize(
    ("key", "node", "said"),
    [
        ("prior", {**LAPLACE, "scale": "wide"}, "prior.scale must be a number, got 'wide'"),
        ("prior", {**LAPLACE, "scale": True}, "prior.scale must be a number, got True"),
        ("prior", {**LAPLACE, "scale": -1.0}, "prior: scale must be positive"),
        ("prior", {**LAPLACE, "scala": 1.0}, "prior.scala is not a setting of Laplace, which has scale"),
        ("prior", {**LAPLACE, "scale": 1.0, "z_dim": 3}, "prior.z_dim is not a setting of Laplace, which has scale"),
        ("prior", {**LAPLACE, "scale": 1.0, 7: 3}, "prior.7 is not a setting of Laplace, which has scale"),
        ("prior", LAPLACE, "prior.scale is missing: Laplace needs scale"),
        ("prior", None, "prior._target_ must be a class or function of disvae.prior, got None"),
        ("objective", {**BETA_VAE, "beta": 2}, "objective.beta is a schedule, not 2: type beta=2"),
        ("objective", {**BETA_VAE, "beta": {"value": 2}}, "objective.beta is a schedule, not {'value': 2}"),
        ("objective", {**BETA_VAE, "beta": {**CONSTANT, "value": -1}}, "schedule.beta: value must be non-negative"),
        ("objective", {**BETA_VAE, "_target_": "disvae.objective.vae.VAE", "x": 1},
         "objective.x is not a setting of ELBO, which has none"),
        ("optimizer", {**ADAM, "weight_decay": 0.1},
         "optimizer.weight_decay is not a setting of adam, which has lr, betas, eps, amsgrad"),
    ],
)  # fmt: skip
def test_a_key_that_does_not_fit_is_named_with_what_would(key, node, said):
    with pytest.raises(ConfigError) as error:
        make(node, key, **GIVEN.get(key, {}))
    assert str(error.value).startswith(said)


def test_a_huge_value_is_shown_in_a_line(composed):
    bomb: Any = 0
    for _ in range(60):  # 2 ** 60 zeros, if written out
        bomb = [bomb, bomb]
    with pytest.raises(ConfigError, match=r"prior\.scale must be a number, got \[\[") as error:
        make({**LAPLACE, "scale": bomb}, "prior", z_dim=2)
    assert len(str(error.value)) < 1000


# the commands


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory) -> Path:
    """A finished run on few images."""
    folder = tmp_path_factory.mktemp("runs") / "sprites" / "defaults-0123"
    weights = ("objective=decomposition", "alpha=1", "schedule@schedule.beta=linear")
    train_run(Job(Run(folder), resolved(composed(*SPRITES, *MLP, *FEW, *weights)), brief=True))
    return folder


def place(folder: Path, keys: tuple[str, ...], payload: Mapping[str, Any]) -> None:
    """Write the payload to a place of a run's config.yaml, and remove its digests and the codes that spare its data."""
    file = folder / "config.yaml"
    tree = node = yaml.safe_load(file.read_text())
    for key in keys[:-1]:
        node = node.setdefault(key, {})
    node[keys[-1]] = dict(payload)
    file.write_text(yaml.safe_dump(tree))
    for name in ("encoding.h5", "digests.json"):  # without digests, as whoever edits a run folder can leave it
        (folder / name).unlink(missing_ok=True)


PLACES = [
    ("dataset", "x", "y"),
    ("dataset",),
    ("prior", "_args_"),
    ("posterior", "link"),
    ("model", "encoder_hidden"),
    ("likelihood", "_x"),
    ("objective", "beta", "start"),
    ("objective", "divergence"),
]


@pytest.mark.parametrize("keys", PLACES, ids=".".join)
@pytest.mark.parametrize("command", [evaluate, explore])
def test_a_run_folder_that_names_foreign_code_is_refused(trained, tmp_path, payloads, written, command, keys):
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    for payload in payloads:
        place(folder, keys, payload)
        with pytest.raises(ConfigError, match=rf"({keys[0]}|{keys[-1]}|schedule).*(is not a setting of|must be)"):
            command([str(folder)])
    assert not written.exists()
    assert "foreign_code" not in sys.modules


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            ("dataset", "x", "y"),
            "Dataset.x is not a setting of Sprites, which has shapes, scales, orientations, positions",
        ),
        (("prior", "_args_"), "Prior._args_ is not a setting of Gaussian, which has none"),
        (("objective", "beta", "start"), "run: schedule.beta.start must be a number, got"),
    ],
)
def test_a_comparison_says_which_node_is_refused(trained, tmp_path, payloads, written, keys, said):
    folder = Path(shutil.copytree(trained, tmp_path / "runs" / "run"))
    for payload in payloads:
        place(folder, keys, payload)
        compare_paths([str(tmp_path / "runs")])
        assert said in (tmp_path / "runs" / "report.html").read_text()
    assert not written.exists()
    assert "foreign_code" not in sys.modules


# the command line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["+objective.x.y._target_=shutil.copyfile", "+objective.x.y.src=s", "+objective.x.y.dst=written"],
         "objective.x is not a setting of BetaVAE, which has beta"),
        (["+objective._args_=[1]"], "objective._args_ is not a setting of BetaVAE, which has beta"),
        (["+optimizer.weight_decay=0.1"],
         "optimizer.weight_decay is not a setting of adam, which has lr, betas, eps, amsgrad"),
        (["+metric.mine._target_=shutil.copyfile", "+metric.mine.src=s", "+metric.mine.dst=written"],
         "metric.mine must be one of active_units"),
        (["--experimental-rerun=job.pickle"], "--experimental-rerun would run code in a pickle"),
        (["--exp", "job.pickle"], "--experimental-rerun would run code in a pickle"),
    ],
)  # fmt: skip
def test_the_command_line_names_what_it_refuses(command_line, tmp_path, arguments, said):
    (tmp_path / "s").touch()
    status, told = command_line("dataset=clusters", "steps=2", *arguments)
    assert (status, told.startswith(f"disvae: {said}")) == (2, True), told
    assert told.count("\n") == 1
    assert not (tmp_path / "written").exists()


@pytest.fixture
def payload(tmp_path) -> Path:
    """A file x.yaml whose callback copies a file to `written`; it has no place in the configuration."""
    (tmp_path / "source").touch()
    copy = f"{{_target_: shutil.copyfile, src: {tmp_path / 'source'}, dst: {tmp_path / 'written'}}}"
    path = tmp_path / "x.yaml"
    path.write_text(f"# @package _global_\nhydra: {{callbacks: {{x: {copy}}}}}\n")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["objective={}"],
        ["-m", "objective={},beta_vae"],
        ["-m", "+hydra.sweeper.params.objective='{},beta_vae'"],
        ["schedule@schedule.beta={}"],
        ["+experiment={}"],
        ["experiment={}"],
        ["hydra/launcher={}"],
        ["+hydra/job_logging={}"],
        ["++Objective={}"],
        [" + objective = {} "],
        ["metric=[{}]"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("absolute", [False, True])
def test_an_option_that_is_a_path_is_refused_before_its_callbacks_run(
    command_line, tmp_path, payload, arguments, absolute
):
    path = payload.with_suffix("")
    there = str(path) if absolute else os.path.relpath(path, conf_dir() / "objective")
    status, told = command_line(*(argument.format(there) for argument in arguments))
    assert status == 2, told
    assert re.search("must be one|without spaces", told)
    assert there in told
    assert "Traceback" not in told
    assert not (tmp_path / "written").exists()


@pytest.mark.filterwarnings("ignore:Callback str")  # it is no callback
def test_a_folder_of_ones_own_configuration_is_ones_own_code(command_line, tmp_path, payload):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    shutil.copy(payload, tmp_path / "own" / "experiment" / "mine.yaml")
    command_line("--config-dir", str(tmp_path / "own"), "experiment=mine", "steps=0")
    assert (tmp_path / "written").exists()


@pytest.mark.parametrize("wrong", [{"posX": "1"}, {"posX": 0.5}, {"posX": {"y": 1}}, [1], 3, "posX"])
def test_numbers_by_name_are_whole_numbers(composed, wrong):
    node = resolved(composed("objective=dc_ign"))["objective"]
    assert make({**node, "owners": {"posX": 2}}, "objective").owners == {"posX": 2}
    with pytest.raises(ConfigError, match=r"objective.owners must be whole numbers by name, \{NAME: VALUE\} or null"):
        make({**node, "owners": wrong}, "objective")


def test_a_number_by_name_has_a_largest_value(composed):
    node = resolved(composed("objective=dc_ign"))["objective"]
    with pytest.raises(ConfigError, match=r"objective\.owners\.posX must be at most"):
        make({**node, "owners": {"posX": 10**15}}, "objective")
