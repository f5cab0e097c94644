import pytest
import torch

from disvae import build as building
from disvae.build import build, make
from disvae.config import ConfigError, resolved
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
        return next(build(resolved(composed(*GRID, f"seed={seed}"))).module.parameters())

    assert torch.equal(first(1), first(1))
    assert not torch.equal(first(1), first(2))


@pytest.mark.parametrize(
    ("node", "said"),
    [
        ({"_target_": "os.system"}, "must be a class or function of disvae, got 'os.system'"),
        ({"_target_": "disvae.runs.folder.shutil.rmtree"}, "names nothing that exists"),
        ({"_target_": "disvae.runs.folder.shutil"}, "must be a class or function of disvae"),
        ({"_target_": "disvae.prior.nothing.Nothing"}, "names nothing that exists"),
        ({"_target_": "disvae.prior.laplace.Laplace", "scale": "wide"}, "prior.scale must be a number, got 'wide'"),
        ({"_target_": "disvae.prior.laplace.Laplace", "scale": True}, "prior.scale must be a number, got True"),
        ({"_target_": "disvae.prior.laplace.Laplace", "scale": -1.0}, "scale must be positive"),
        ({"_target_": "disvae.prior.laplace.Laplace", "scala": 1.0}, "prior has no setting 'scala'"),
    ],
)
def test_only_own_targets_with_settings_that_fit_are_built(node, said):
    with pytest.raises(ConfigError) as error:
        make(node, "prior", z_dim=2)
    assert said in str(error.value)
