import pytest
import torch
from torch.distributions import Distribution, Independent, Normal

from disvae import build as building
from disvae.build import build, check_together
from disvae.config import resolved
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
