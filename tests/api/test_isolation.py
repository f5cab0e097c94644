"""What a notebook has set in torch and scikit-learn neither breaks nor changes what disvae computes."""

import random
import threading
from contextlib import contextmanager
from functools import partial

import numpy as np
import pytest
import sklearn
import torch

import disvae


@contextmanager
def double():
    torch.set_default_dtype(torch.float64)
    try:
        yield
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def another_device():
    torch.set_default_device("meta")
    try:
        yield
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


@contextmanager
def frames():
    with sklearn.config_context(transform_output="pandas"):
        yield
        assert sklearn.get_config()["transform_output"] == "pandas"


@contextmanager
def numpy_raises():
    with np.errstate(all="raise"):
        yield


def values(tiny, out):
    """The numbers of a run and of what is done with it, each from its own function."""
    run = disvae.train(*tiny, "final=[class_magnitude]", out=str(out), brief=True)
    vae = disvae.load(run)
    image = vae.decode([[0.5, -0.5]]).mean
    code = vae.encode(image.sigmoid()).mean
    codes, factors = np.random.default_rng(0).normal(size=(200, 2)), np.random.default_rng(1).integers(0, 3, (200, 2))
    mig = disvae.score(codes, factors, ["mig"])["mig/histogram"]["model"]
    picture = np.asarray(run.figure("aggregate_posterior"))
    data = vae.dataset().images.take(torch.arange(3, device="cpu"))
    return [run.metrics(), mig, *(array.tolist() for array in (image, code, picture, data))]


@pytest.fixture(scope="module")
def usual(tiny, tmp_path_factory):
    return values(tiny, tmp_path_factory.mktemp("usual"))


STATES = {
    "float64": double,
    "default device": another_device,
    "device": partial(torch.device, "meta"),
    "inference": torch.inference_mode,
    "no gradients": torch.no_grad,
    "pandas": frames,
    "numpy": numpy_raises,
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
def test_the_program_around_it_changes_nothing(state, usual, tiny, tmp_path):
    with state():
        found = values(tiny, tmp_path)
    for own, other in zip(usual, found, strict=True):
        assert own == other


def test_the_programs_random_numbers_go_on(tiny, tmp_path):
    def seed():
        torch.manual_seed(7)
        np.random.seed(7)
        random.seed(7)

    def drawn():
        return [torch.rand(3).tolist(), np.random.rand(3).tolist(), random.random()]

    seed()
    expected = drawn()
    seed()
    values(tiny, tmp_path)
    assert drawn() == expected


def test_a_training_that_waits_for_another_one_has_its_defaults_too(tiny, tmp_path):
    found = {}

    def train(name):
        found[name] = disvae.train(*tiny, f"seed={name}", out=str(tmp_path), brief=True).metrics()

    with double():
        threads = [threading.Thread(target=train, args=(name,)) for name in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found.keys() == {1, 2}
