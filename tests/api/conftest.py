"""One small run that the examples of the documents share, and a folder for it."""

import pytest
from hydra import compose

import disvae
from disvae.api import training

SMALL = (
    "dataset.orientations=4", "dataset.positions=8", "dataset.scales=2", "split.validation=0.3", "model=mlp",
    "model.encoder_hidden=[16]", "model.decoder_hidden=[16]", "eval_images=200", "eval_samples=50", "metric=[]",
    "final=[sparsity]", "figure=[]", "final_figures=[]", "report=false", "score.repeats=2", "score.controls=[]",
)  # fmt: skip


def shortened(name, overrides, **more):
    return compose(name, [*SMALL, *overrides, "steps=3"], **more)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A folder of its own, in which disvae.train trains a small network on few images for three steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("python"))
        patch.setattr(training, "compose", shortened)
        yield


@pytest.fixture(scope="module")
def run(small) -> disvae.TrainedRun:
    """The run of the examples."""
    return disvae.train("objective=beta_tc", beta=6, steps=500, brief=True)
