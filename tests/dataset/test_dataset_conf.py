"""A dataset brings the network and settings that fit it, and the command line has the last word."""

import pytest
import yaml

from disvae.config import conf_dir
from disvae.data import pictures
from disvae.dataset import fashion_mnist, mnist, smallnorb

WITH_SETTINGS = ["clusters", "fashion_mnist", "shapes3d"]


@pytest.mark.parametrize(
    ("dataset", "model", "likelihood"),
    [
        ("sprites", "conv.Conv", "bernoulli.Bernoulli"),
        ("dsprites", "conv.Conv", "bernoulli.Bernoulli"),
        ("fashion_mnist", "dcgan.DCGAN", "laplace.Laplace"),
        ("clusters", "mlp.MLP", "gaussian.Gaussian"),
        ("mnist", "dcgan.DCGAN", "laplace.Laplace"),
        *((name, "conv.Conv", "gaussian.Gaussian") for name in ("shapes3d", "images", "mpi3d", "cars3d", "smallnorb")),
    ],
)
def test_dataset_chooses_what_fits_it(composed, dataset, model, likelihood):
    cfg = composed(f"dataset={dataset}")
    assert cfg.dataset._target_.startswith(f"disvae.dataset.{dataset}.")
    assert cfg.model._target_ == f"disvae.model.{model}"
    assert cfg.likelihood._target_ == f"disvae.likelihood.{likelihood}"


@pytest.mark.parametrize("dataset", WITH_SETTINGS)
def test_command_line_overrides_what_the_dataset_chooses(composed, dataset):
    cfg = composed(f"dataset={dataset}", "model=mathieu_dsprites", "likelihood=laplace", "z_dim=7", "batch_size=3")
    assert cfg.model._target_ == "disvae.model.mathieu_dsprites.MathieuDSprites"
    assert cfg.likelihood._target_ == "disvae.likelihood.laplace.Laplace"
    assert (cfg.z_dim, cfg.batch_size) == (7, 3)


def test_clusters_have_mathieus_settings(composed):
    cfg = composed("dataset=clusters")
    assert (cfg.z_dim, cfg.batch_size, cfg.steps) == (2, 400, 500)
    assert (cfg.optimizer.lr, cfg.optimizer.amsgrad) == (1e-3, True)
    assert cfg.likelihood.learn == "per_pixel"
    assert composed("dataset=clusters", "optimizer.lr=3", "steps=9").optimizer.lr == 3


def test_fashion_mnist_has_mathieus_settings(composed):
    cfg = composed("dataset=fashion_mnist")
    assert (cfg.z_dim, cfg.batch_size, cfg.likelihood.scale) == (50, 500, 0.1)


def test_likelihood_without_a_scale_goes_with_colour_images(composed):
    assert set(composed("dataset=shapes3d", "likelihood=bernoulli").likelihood) == {"_target_"}


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        ("fashion_mnist", fashion_mnist.FILES),
        ("mnist", mnist.FILES),
        ("smallnorb", smallnorb.FILES),
        ("images", pictures.PATTERNS),
    ],
)
def test_the_files_that_are_read_decide_a_runs_hash(dataset, names):
    node = yaml.safe_load((conf_dir() / "dataset" / f"{dataset}.yaml").read_text())["dataset"]
    assert node["files"] == list(names)


@pytest.mark.parametrize("path", sorted((conf_dir() / "dataset").glob("*.yaml")), ids=lambda path: path.stem)
def test_description_is_a_line_of_help(path):
    first = next(line for line in path.read_text().splitlines() if not line.startswith("# @"))
    assert first.startswith("# ")
    assert len(first) <= 110
