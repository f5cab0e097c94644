"""What `import disvae` gives: runs, models, scores and tables, as the commands have them, and errors that say why."""

import ast
import shutil
import sys
import threading
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir

import disvae
from disvae.api import tables, training
from disvae.api.images import images_of
from disvae.config import ConfigError
from disvae.runs import checkpoint
from disvae.score import score_file
from disvae.system.signals import Interrupted
from disvae.training.run_trainer import Stopped

CLUSTERS = ("dataset=clusters", "steps=3", "eval_images=20", "eval_samples=10", "final=[]", "figure=[]",
            "final_figures=[]", "report=false")  # fmt: skip


def command(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["disvae", *arguments])
    module.main()


def test_importing_the_package_imports_nothing_else():
    tree = ast.parse(Path(disvae.__file__).read_text(encoding="utf-8"))
    nodes = [node for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    assert names | {node.module for node in nodes if isinstance(node, ast.ImportFrom)} <= {
        *sys.stdlib_module_names,
        "importlib.util",
    }


def test_the_types_are_those_of_the_names_that_the_package_gives():
    stub = ast.parse(Path(disvae.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {
        (node.module, alias.asname) for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert {name for _, name in typed} == set(disvae.__all__) <= set(dir(disvae))
    for module, name in typed:
        real = getattr(import_module(module), name)
        assert getattr(disvae, name) is real or isinstance(getattr(disvae, name), ModuleType)


def test_functions_stay_functions_after_the_modules_of_their_names_are_imported():
    from disvae.runs.folder import Run
    from disvae.score import main
    from disvae.train import train

    assert callable(disvae.train)
    assert callable(disvae.score)
    assert callable(disvae.runs)
    assert disvae.train.train is train
    assert disvae.score.main is main
    assert disvae.runs.folder.Run is Run
    with pytest.raises(AttributeError, match="has no attribute 'nothing'; it has runs, score, train"):
        _ = disvae.nothing


def test_training_in_a_thread_makes_the_run_of_the_command_line(tmp_path, monkeypatch):
    found = []

    def work():
        found.append(disvae.train(*CLUSTERS, f"out={tmp_path / 'python'}", beta=2, brief=True))

    thread = threading.Thread(target=work)
    with initialize_config_dir(str(tmp_path), version_base="1.3"):  # a program that uses Hydra itself
        thread.start()
        thread.join()
    command(disvae.train, monkeypatch, *CLUSTERS, f"out={tmp_path / 'command'}", "beta=2")
    (other,) = (tmp_path / "command" / "clusters").glob("*-*")
    assert found[0].path.name == other.name
    assert found[0].metrics() == disvae.TrainedRun(other).metrics()
    assert found[0].status()["state"] == "finished"
    assert found[0].provenance()["sessions"][0]["command"].startswith("disvae.train('dataset=clusters', 'steps=3', ")


@pytest.mark.parametrize("stop", [Interrupted(2), Stopped("SIGINT at step 5; the same command continues it", 130)])
def test_the_stop_button_of_a_notebook_raises_what_python_raises(tmp_path, monkeypatch, stop):
    def stopped(job, brief, parts):
        raise stop

    monkeypatch.setattr(training, "do", stopped)
    with pytest.raises(KeyboardInterrupt, match="SIGINT"):
        disvae.train(*CLUSTERS, f"out={tmp_path}")


def test_a_diverged_run_raises_its_own_error(tmp_path, monkeypatch):
    def diverges(job, brief, parts):
        raise Stopped("training diverged at step 3", 4)

    monkeypatch.setattr(training, "do", diverges)
    with pytest.raises(RuntimeError, match="diverged at step 3"):
        disvae.train(*CLUSTERS, f"out={tmp_path}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda run: disvae.train("beta=-1"), "beta must be a finite number >= 0"),
        (lambda run: disvae.train(beta="many"), "beta must be a finite number"),
        (lambda run: disvae.train("objective=nope"), "objective"),
        (lambda run: disvae.train(nothing=1), "nothing"),
        (lambda run: disvae.train("beta=1,2"), "beta=1,2 is a sweep"),
        (lambda run: disvae.train(plugins=["no_such_package"]), "plugins must be packages with a folder conf/"),
        (lambda run: disvae.train(preview="schedule"), "type python -m disvae.train preview=schedule"),
        (lambda run: disvae.load("nowhere"), "nowhere is not the folder of a trained run"),
        (lambda run: disvae.TrainedRun("."), "is not the folder of a trained run"),
        (lambda run: run.figure("nope"), "figure must be one or a list of"),
        (lambda run: run.figure("traversal", nope=1), "nope"),
        (lambda run: run.figure("traversal", image=10**6), "image must be a number from 0 to"),
        (lambda run: disvae.load(run).decode([1.0, 2.0]), r"z must be \(N, 10\)"),
        (lambda run: disvae.load(run).encode(np.zeros((2, 9, 9))), r"images must be \(N, 1, 64, 64\), got \(2, 9, 9\)"),
        (lambda run: disvae.score([1, 2], [0, 1]), r"codes must be \(N, D\)"),
        (lambda run: disvae.score(np.zeros((200, 2)), None, ["mig"]), "metric mig: at least 2 factors are needed"),
        (lambda run: disvae.score(np.zeros((200, 2)), None, ["nope"]), "metric must be one or a list of"),
        (lambda run: disvae.score(np.zeros((200, 2)), repeats=-1), "score.repeats must be"),
    ],
)
def test_what_cannot_be_is_an_error_of_one_line(run, call, message):
    with pytest.raises(ConfigError, match=message) as error:
        call(run)
    assert "\n" not in str(error.value)


def test_a_loaded_vae_is_the_trained_one_and_leaves_the_random_numbers_alone(run):
    state = torch.get_rng_state()
    trained = disvae.load(str(run.path))
    assert torch.equal(torch.get_rng_state(), state)
    assert not trained.vae.training
    weights = checkpoint.load(run.last)["state_dict"]
    assert all(torch.equal(value, weights[f"vae.{name}"]) for name, value in trained.vae.state_dict().items())
    x = trained.dataset().images.take(torch.arange(4))
    assert not trained.encode(x).mean.requires_grad
    assert torch.equal(trained.encode(x.numpy()).mean, trained.vae.encode(x).mean)
    assert trained.config == run.config()


def test_a_run_made_before_its_checkpoint_had_the_shape_of_its_images_is_loaded(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "run")
    old = disvae.TrainedRun(tmp_path / "run")
    checkpoint.save({k: v for k, v in checkpoint.load(old.last).items() if k != "hyper_parameters"}, old.last)
    assert disvae.load(old).x_shape == disvae.load(run).x_shape == (1, 64, 64)


GREY = np.random.default_rng(0).integers(0, 256, (2, 4, 4), dtype=np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("x", [GREY, GREY[:, None], GREY[..., None], GREY / 255, torch.from_numpy(GREY), GREY.tolist()])
def test_grey_images_are_taken_in_every_form(x):
    x = (np.array(x) / 255).tolist() if isinstance(x, list) else x
    torch.testing.assert_close(images_of(x, (1, 4, 4)), torch.from_numpy(GREY[:, None] / 255).float())


def test_colour_images_are_taken_in_both_orders_and_binary_ones_as_they_are():
    due = torch.from_numpy(COLOUR.transpose(0, 3, 1, 2) / 255).float()
    torch.testing.assert_close(images_of(COLOUR, (3, 4, 4)), due)
    torch.testing.assert_close(images_of(COLOUR.transpose(0, 3, 1, 2), (3, 4, 4)), due)
    assert images_of(GREY // 255 + np.eye(4, dtype=np.uint8), (1, 4, 4)).max() == 1
    assert images_of([[[[-3.0, 5.0]]]], (1, 1, 2)).tolist() == [[[[-3.0, 5.0]]]]  # points, not pictures


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (GREY.astype(float), r"images must be uint8 or in \[0, 1\], got [0-9]+ to 2[0-9]+: rescale them"),
        (np.full((1, 4, 4), np.nan), "images must be finite"),
        (COLOUR, r"images must be \(N, 1, 4, 4\), got \(2, 4, 4, 3\)"),
        (GREY[0], r"got \(4, 4\)"),
        (3, r"got \(\)"),
    ],
)
def test_images_of_another_kind_are_refused(x, message):
    with pytest.raises(ConfigError, match=message):
        images_of(x, (1, 4, 4))


def test_a_figure_is_a_picture_that_a_notebook_shows(run, monkeypatch):
    monkeypatch.setattr("disvae.statistics.latents.ACTIVE", 0.0)  # three steps make no latent active
    picture = run.figure("traversal", most=2)
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert run.figure("traversal_animation", most=1).n_frames > 1


def test_scores_are_those_of_the_command(tmp_path):
    rng = np.random.default_rng(0)
    codes, factors = rng.normal(size=(200, 3)), rng.integers(3, size=(200, 2))
    np.savez(tmp_path / "codes.npz", codes=codes, factors=factors)
    found = disvae.score(codes, factors, {"mig": {"bins": 10}}, repeats=2)
    from disvae.evaluation.settings import scoring_settings

    nodes, _, how = scoring_settings(["metric=[mig]", "metric.mig.bins=10", "score.repeats=2"])
    stored = score_file(tmp_path / "codes.npz", nodes, how)["metric"]["mig-bins10"]
    of_model = found["mig-bins10/histogram"]
    assert of_model.keys() == {"model", "rotation", "chance"}
    assert vars(of_model["model"]) == stored["scores"]["histogram"]["model"]
    assert of_model["chance"].value == stored["chance"]["histogram"]


def test_a_table_has_a_row_for_each_run(run, monkeypatch):
    monkeypatch.setattr(tables, "require", lambda *names: None)
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))
    (row,) = disvae.runs(run.path)
    assert (row["objective"], row["beta"], row["state"], row["step"]) == ("beta_tc", 6, "finished", 3)
    assert row["val/elbo"] == run.metrics()["val/elbo"]
    assert row["metric/sparsity/hoyer_se"] == run.metrics()["metric/sparsity/hoyer_se"]
    assert row["folder"] == str(run.path)


def test_a_missing_package_is_an_error_that_says_what_to_install(monkeypatch):
    monkeypatch.setattr("disvae.system.imports.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"disvae\.runs needs the package pandas: type pip install pandas"):
        disvae.runs("outputs")
