import pytest
import torch
from torch.distributions import Distribution, Independent, Normal

from disvae import build as building
from disvae.build import build, check_together
from disvae.config import ConfigError, resolved
from disvae.dataset import Images, check_images
from disvae.objective import Objective
from disvae.prior.anisotropic import Anisotropic

GRID = ("dataset.scales=2", "dataset.orientations=4", "dataset.positions=4", "eval_images=20", "batch_size=8")


def test_a_prior_is_initialised_from_training_images_of_the_whole_grid(composed, monkeypatch):
    seen = []
    monkeypatch.setattr(Anisotropic, "initialise", lambda self, images: seen.append(images))
    monkeypatch.setattr(building, "LOOK", 60)
    built = build(resolved(composed(*GRID, "prior=anisotropic", "prior.variances=pca")))
    images = built.dataset.images.take(torch.arange(len(built.dataset.images)))
    rows = (seen[0].flatten(1)[:, None] == images.flatten(1)).all(2).float().argmax(1)
    assert len(rows) == 60
    assert set(built.dataset.factors[rows, 0]) == {0, 1, 2}  # squares, ellipses and hearts
    assert not set(rows.tolist()) & set(built.data.held_out_rows.tolist()) - set(built.data.train_rows.tolist())


def test_weights_are_a_function_of_the_seed(composed):
    def first(seed):
        return next(build(resolved(composed(*GRID, f"seed={seed}"))).vae.parameters())

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize(
    "overrides",
    [
        ("objective=dip_vae",),
        ("objective=beta_tc",),
        ("objective=beta_tc", "objective.estimator=mss"),
        ("objective=decomposition", "alpha=1", "divergence=mmd"),
        ("objective=decomposition", "alpha=1", "divergence=jsd"),
    ],
)
def test_a_batch_too_small_for_its_estimates_is_refused_with_the_least_one(composed, overrides):
    with pytest.raises(ConfigError, match=r"^batch_size must be at least 2 for \w+, got 1: type batch_size=2"):
        build(resolved(composed("dataset=clusters", *overrides, "batch_size=1")))


def test_images_that_no_run_can_learn_from_are_refused():
    points = torch.zeros(5, 1, 1, 2)
    check_images(Images(points + 300, (1, 1, 2)))
    points[3, 0, 0, 1] = torch.nan
    with pytest.raises(ValueError, match="NaN or infinity in 1 of 5, first in image 3"):
        check_images(Images(points, (1, 1, 2)))
    with pytest.raises(ValueError, match="up to 255: divide them by 255, or pass them as uint8"):
        check_images(Images(torch.full((5, 1, 4, 4), 255.0), (1, 4, 4)))


class OnlySamples(Distribution):
    """A distribution of four latents without a density."""

    def __init__(self) -> None:
        super().__init__(event_shape=torch.Size([4]), validate_args=False)

    def sample(self, sample_shape=()):
        return torch.zeros(*sample_shape, 4)


@pytest.mark.parametrize(
    ("pz", "said"),
    [
        (OnlySamples(), "prior must return a distribution with log_prob and sample, but OnlySamples lacks one"),
        (Normal(torch.zeros(4), 1.0), r"batch_shape \(\) and event_shape \(4,\), got \(4,\) and \(\)"),
        (Independent(Normal(torch.zeros(3), 1.0), 1), r"got \(\) and \(3,\)"),
    ],
)
def test_a_prior_that_breaks_its_contract_is_refused_before_training(small_vae, monkeypatch, pz, said):
    vae = small_vae()
    monkeypatch.setattr(vae.prior, "forward", lambda: pz)
    with pytest.raises(ValueError, match=said):
        check_together(vae, Objective(), torch.zeros(3, 1, 16, 16), N=10)


def test_learnt_mixture_weights_go_with_the_kl_and_not_with_samples_of_the_prior(composed):
    made = ("dataset=clusters", "prior=mixture", "prior.learn_weights=true", "objective=decomposition")
    assert any("log_weight" in name for name, _ in build(resolved(composed(*made))).vae.named_parameters())
    build(resolved(composed(*made, "alpha=1", "divergence=kl_exclusive")))
    build(resolved(composed(*made[:3], "objective=factor_vae", "objective.width=8", "objective.layers=1")))
    with pytest.raises(ConfigError, match=r"a sample passes no gradient to them; type prior.learn_weights=false"):
        build(resolved(composed(*made, "alpha=1", "divergence=mmd")))


def test_settings_that_came_later_are_no_part_of_a_configuration_at_the_value_that_runs_had(composed):
    config = resolved(composed("prior=mixture"))
    assert "on_collapse" not in config
    assert "learn_weights" not in config["prior"]
    config = resolved(composed("prior=mixture", "prior.learn_weights=true", "on_collapse=stop"))
    assert config["prior"]["learn_weights"]
    assert config["on_collapse"] == "stop"
