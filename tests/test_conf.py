"""Every option builds and trains with every other it can go with; the rest is refused with what to type."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import DictConfig

import disvae
from disvae.build import build, make
from disvae.config import ConfigError, check_settings, conf_dir, facts, nodes, options, resolved
from disvae.metric import RunsMetric
from disvae.runs.tags import ends
from disvae.system.help import description
from disvae.training.build_module import build_module
from disvae.training.data_module import StepRows

SMALL = {
    "sprites": ("dataset=sprites", "dataset.scales=2", "dataset.orientations=4", "dataset.positions=4"),
    "clusters": ("dataset=clusters",),
    "fashion_mnist": ("dataset=fashion_mnist",),
}
FAST = ("batch_size=8", "steps=8", "eval_images=20", "eval_samples=10", "z_dim=2")


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small files of Fashion-MNIST's layout."""
    import gzip
    import struct

    folder = tmp_path_factory.mktemp("fashion")
    rng = np.random.default_rng(0)
    for split, n in (("train", 60), ("t10k", 20)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = rng.integers(0, 10, n, dtype=np.uint8)
        with gzip.open(folder / f"{split}-images-idx3-ubyte.gz", "wb") as file:
            file.write(struct.pack(">IIII", 2051, n, 28, 28) + images.tobytes())
        with gzip.open(folder / f"{split}-labels-idx1-ubyte.gz", "wb") as file:
            file.write(struct.pack(">II", 2049, n) + labels.tobytes())
    return folder


@pytest.fixture
def steps(composed: Callable[..., DictConfig], fashion: Path) -> Callable[..., list[float]]:
    """Losses of two optimiser steps of a configuration."""

    def run(dataset: str, *overrides: str) -> list[float]:
        path = (f"dataset.path={fashion}",) if dataset == "fashion_mnist" else ()
        config = resolved(composed(*SMALL[dataset], *path, *FAST, *overrides))
        built = build(config)
        module = build_module(config, built, torch.device("cpu"))
        optimizer = module.configure_optimizers()
        losses = []
        for step, rows in enumerate(StepRows(built.data.batches, 0, 2)):
            torch.manual_seed(step)
            optimizer.zero_grad()
            terms = module.compute_terms(built.data.take(rows, torch.device("cpu")), step)
            terms["loss"].backward()
            optimizer.step()
            losses.append(terms["loss"].item())
            assert {"loss", built.objective.best} <= terms.keys()
            if built.objective.without_elbo:
                assert not {"kl", "elbo"} & terms.keys()
            else:
                assert torch.allclose(terms["elbo"], -(terms["reconstruction"] + terms["kl"]))
        assert len(losses) == 2
        assert np.isfinite(losses).all()
        for parameter in module.parameters():
            assert parameter.isfinite().all()
        return losses

    return run


OBJECTIVES = options("objective")
PRIORS = options("prior")


GAUSSIAN = ("gaussian", "isotropic", "joint")


def usual(objective: str) -> str:
    """The posterior that an objective is for."""
    return "deterministic" if objective == "wae_mmd" else "gaussian"


def goes(objective: str, prior: str, posterior: str) -> bool:
    """What the mathematics allows: a prior and a posterior that factorise, or a Gaussian posterior that does.

    The KL of a Gaussian to a uniform prior is infinite, nothing teaches a GAN's prior, and a point has no density.
    """
    if objective == "wae_mmd" or posterior == "deterministic":
        return (objective, posterior) == ("wae_mmd", "deterministic")
    if objective == "infogan":
        return prior not in ("anisotropic_learnt", "ard", "vamp")
    if prior == "uniform":
        return False
    if objective in ("ada_gvae", "ml_vae"):
        return posterior in GAUSSIAN
    return objective not in ("beta_tc", "dc_ign") or (prior not in ("mixture", "vamp") and posterior != "full_gaussian")


def on(dataset: str, objective: str) -> tuple[str, ...]:
    """A dataset and settings on which an objective trains: one that is given groups needs factors of variation."""
    if facts("objective", objective).get("supervision", "none") == "none":
        return dataset, f"objective={objective}", *(["divergence=mmd"] if objective == "wae_mmd" else [])
    own = ("z_dim=5", "objective.groups=2") if objective == "dc_ign" else ()
    return "sprites", f"objective={objective}", *own


@pytest.mark.parametrize(("objective", "prior"), list(itertools.product(OBJECTIVES, PRIORS)))
def test_every_objective_trains_with_every_prior_and_each_of_them_on_every_dataset(steps, objective, prior):
    dataset = sorted(SMALL)[(OBJECTIVES.index(objective) + PRIORS.index(prior)) % len(SMALL)]
    dataset, *overrides = *on(dataset, objective), f"prior={prior}", f"posterior={usual(objective)}"
    if goes(objective, prior, usual(objective)):
        steps(dataset, *overrides)
    else:
        with pytest.raises(ConfigError, match="prior"):
            steps(dataset, *overrides)


@pytest.mark.parametrize(("objective", "posterior"), list(itertools.product(OBJECTIVES, options("posterior"))))
def test_every_objective_trains_with_every_posterior(steps, objective, posterior):
    dataset, *overrides = *on("clusters", objective), f"posterior={posterior}"
    if goes(objective, "gaussian", posterior):
        steps(dataset, *overrides)
    else:
        with pytest.raises(ConfigError, match="posterior"):
            steps(dataset, *overrides)


def test_an_objective_that_needs_factors_says_which_dataset_has_them(steps):
    with pytest.raises(ConfigError, match="objective=dc_ign needs factors of variation: type dataset=sprites"):
        steps("fashion_mnist", "objective=dc_ign")


@pytest.mark.parametrize(("divergence", "prior"), list(itertools.product(options("divergence"), PRIORS)))
def test_every_divergence_trains_with_every_prior(steps, divergence, prior):
    overrides = ("objective=decomposition", "alpha=2", f"divergence={divergence}", f"prior={prior}")
    if goes("decomposition", prior, "gaussian"):
        steps("clusters", *overrides)
    else:
        with pytest.raises(ConfigError, match="prior"):
            steps("clusters", *overrides)


@pytest.mark.parametrize("schedule", options("schedule"))
@pytest.mark.parametrize("weight", ["beta", "alpha", "capacity"])
def test_every_weight_takes_every_schedule(composed, steps, weight, schedule):
    objective = "capacity" if weight == "capacity" else "decomposition"
    overrides = [f"objective={objective}", f"schedule@schedule.{weight}={schedule}"]
    check_settings(composed(*overrides), overrides, objective)
    steps("clusters", *overrides)


@pytest.mark.parametrize("likelihood", options("likelihood"))
def test_every_likelihood_trains_on_images(steps, likelihood):
    steps("sprites", f"likelihood={likelihood}")


def test_points_outside_the_unit_interval_have_no_bernoulli_likelihood(steps):
    with pytest.raises(ConfigError, match="type likelihood=gaussian"):
        steps("clusters", "likelihood=bernoulli")


def test_grey_images_under_a_bernoulli_are_named_a_cross_entropy(steps, caplog):
    steps("fashion_mnist", "likelihood=bernoulli")
    assert "not a normalised density" in caplog.text


@pytest.mark.parametrize("model", options("model"))
def test_every_model_trains_on_a_dataset_it_fits_and_says_which_it_does_not(steps, model):
    trained, refused = [], []
    for dataset in SMALL:
        try:
            steps(dataset, f"model={model}")
        except ConfigError as error:
            refused.append(str(error))
        else:
            trained.append(dataset)
    assert trained
    assert all("model=" in message for message in refused)  # what to type instead


@pytest.mark.parametrize("optimizer", options("optimizer"))
def test_every_optimizer_trains(steps, optimizer):
    steps("sprites", f"optimizer={optimizer}")


def test_a_model_given_on_the_command_line_beats_the_datasets_own(composed):
    assert composed("dataset=fashion_mnist").model._target_.endswith("DCGAN")
    assert composed("dataset=fashion_mnist", "model=mlp").model._target_.endswith("MLP")


@pytest.mark.parametrize(
    "path", sorted(conf_dir().glob("*/*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_option_opens_with_a_line_for_help(path):
    assert 20 <= len(description(path)) <= 118


@pytest.mark.parametrize("metric", options("metric"))
def test_a_metric_is_unsupervised_in_its_yaml_where_its_class_reads_no_factors(metric):
    (node,) = nodes("metric", {}, [metric]).values()
    built = make(node, f"metric.{metric}")
    assert facts("metric", metric).get("unsupervised", False) == (isinstance(built, RunsMetric) or built.factors == 0)


@pytest.mark.parametrize("metric", options("metric"))
def test_scores_of_which_more_is_not_better_are_scores_of_their_metric(metric):
    for name, sign in ends(metric).items():
        assert sign in (-1, 0)
        assert f'"{name}"' in (Path(disvae.__file__).parent / "metric" / f"{metric}.py").read_text(encoding="utf-8")
